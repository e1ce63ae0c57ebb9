"""Searchable columns: what is refused, in words that say what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from certrotd.config.searchable import BlindIndexEntry
from certrotd.errors import NeedsOperator
from tests.unit.config.test_datasets import problems

RAILS = {"type": "rails", "salt": {"env": "SALT"}, "deterministic": True}
INDEX = {"blind_index": "v_bidx"}
LIBRARY = {"table": "users", "field": "v_bidx"}


@pytest.mark.parametrize(
    ("searchable", "more", "words"),
    [
        ({"v": INDEX}, {}, ""),
        ({"v": INDEX}, {"search_two_keys": False}, ""),
        ({"v": [INDEX, {"blind_index": "v_ci", "normalize": ["strip", "lower"]}]}, {}, ""),
        ({"v": {**INDEX, "function": "argon2id", "derive": LIBRARY}}, {}, ""),
        ({"v": {**INDEX, "kdf": {"name": "hkdf", "salt": "pepper"}}}, {}, ""),
        ({"v": {**INDEX, "key": {"env": "K"}, "previous_key": {"env": "P"}}}, {}, ""),
        ({"v": INDEX}, {"search_two_keys": None}, "set search_two_keys to true if the application"),
        ({}, {}, "search_two_keys belongs to searchable columns, and there are none"),
        ({"w": INDEX}, {}, 'searchable has "w", which is none of the columns'),
        ({"v": "deterministic"}, {}, "tink encrypts the same value to another ciphertext each"),
        ({"v": "random"}, {}, "must be deterministic, a mapping with blind_index, or a list"),
        ({"v": []}, {}, "must not be empty"),
        ({"v": {"blind_index": "v"}}, {}, '"v" is named twice in key, columns, keep and search'),
        ({"v": [INDEX, INDEX]}, {}, '"v_bidx" is named twice'),
        ({"v": {**INDEX, "size": 33}}, {}, "hmac-sha256 makes from 1 to 32 bytes"),
        ({"v": {**INDEX, "iterations": 3}}, {}, "hmac-sha256 takes no iterations"),
        ({"v": {**INDEX, "derive": LIBRARY, "kdf": {"name": "sha256"}}}, {}, "give one of them"),
        ({"v": {**INDEX, "kdf": {"name": "pbkdf2"}}}, {}, "kdf pbkdf2 takes from 1 to"),
        ({"v": {**INDEX, "previous_key": {"env": "P"}}}, {}, "previous_key comes before key"),
        ({"v": {**INDEX, "key": "canary"}}, {}, "must be a reference to the secret"),
    ],
)
def test_what_is_wrong_with_a_searchable_column_is_refused(
    tmp_path: Path, searchable: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    """At its line; whether the application searches under two keys has to be said."""
    told = problems(tmp_path, {"searchable": searchable, "search_two_keys": True, **more})
    assert words in told
    assert bool(told) is bool(words), told
    assert "canary" not in told


def test_a_deterministic_codec_makes_every_column_searchable(tmp_path: Path) -> None:
    """Whether it is said or not; JSON is not searched."""
    rails: dict[str, Any] = {"codec": RAILS}
    keyring: dict[str, Any] = {"algorithm": "passphrase"}
    assert "v is searched by: set search_two_keys" in problems(tmp_path, rails, **keyring)
    assert problems(tmp_path, {**rails, "search_two_keys": True}, **keyring) == ""
    said = {**rails, "search_two_keys": False, "searchable": {"v": "deterministic"}}
    assert problems(tmp_path, said, **keyring) == ""
    said |= {"json_paths": {"v": ["$.a"]}}
    assert 'searchable has "v", which is JSON' in problems(tmp_path, said, **keyring)


@pytest.mark.parametrize(
    ("encoding", "text", "key"),
    [
        ("hex", "AB" * 32, b"\xab" * 32),
        ("base64", "q6urq6urq6urq6urq6urqw==", b"\xab" * 16),
        ("text", "sixteen letters.", b"sixteen letters."),
        ("hex", "canary", "the key of the blind index v_bidx is no hex"),
        ("base64", "canary", "the key of the blind index v_bidx is no base64"),
        ("text", "canary", "has 6 bytes: at least 16 are a key"),
    ],
)
def test_a_key_of_the_index_is_read_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, key: bytes | str
) -> None:
    """What is none is not in the message."""
    monkeypatch.setenv("INDEX_KEY", text)
    entry = BlindIndexEntry.model_validate(
        {**INDEX, "key": {"env": "INDEX_KEY"}, "key_encoding": encoding}
    )
    if isinstance(key, bytes):
        assert entry.own_keys() == (key,)
        return
    with pytest.raises(NeedsOperator, match=key) as refused:
        entry.own_keys()
    assert "canary" not in str(refused.value)
