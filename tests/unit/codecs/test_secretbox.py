"""Secretbox values that no application wrote, and slots."""

import base64
import sys
from dataclasses import replace

import pytest

from certrotd.codecs.errors import Damaged, Unsupported
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.keyring.material import KeySet
from tests.contract.codec_cases import CASES, PLAINTEXT, reencrypt

CASE = CASES["secretbox"]()
CODEC = PrefixedSecretbox()


def test_a_third_version_takes_the_slot_of_the_first() -> None:
    """Two slots, whose names are the ids: the versions go on counting."""
    third = replace(CASE.new, version=3, id="v1")
    second = replace(CASE.old, version=2)
    moved = reencrypt(CODEC, CODEC.encrypt(b"x", second), KeySet.of([second, third], active=3))
    assert moved.startswith(b"v1:")
    assert CODEC.decrypt(moved, third) == b"x"


@pytest.mark.parametrize(
    "value",
    [
        CASE.sample().replace(b"v1:", b"V1:"),
        CASE.sample().replace(b"v1:", b"v01:"),
        CASE.sample().replace(b"v1:", b"v0:"),
        CASE.sample().replace(b"v1:", b""),
        CASE.sample().replace(b"v1:", b"v12345678901:"),
        b"v1:" + base64.b64encode(bytes(39)),
    ],
)
def test_a_value_of_another_form_is_damaged(value: bytes) -> None:
    """Not taken for a slot that it does not name."""
    with pytest.raises(Damaged):
        CODEC.key_id_of(value)


@pytest.mark.parametrize("key_id", ["1", "v0", "v1:", "v%", "v12345678901"])
def test_a_slot_that_no_value_could_name_is_refused(key_id: str) -> None:
    """In a key and in a census."""
    with pytest.raises(Unsupported, match="v and a number"):
        CODEC.encrypt(b"x", replace(CASE.old, id=key_id))
    with pytest.raises(Unsupported, match="v and a number"):
        CODEC.sql_prefixes(key_id)


def test_without_pynacl_the_message_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; what a census needs works without."""
    monkeypatch.setitem(sys.modules, "nacl.secret", None)
    value = CASE.sample()
    with pytest.raises(Unsupported, match=r"certrotd|sodium") as caught:
        CODEC.decrypt(value, replace(CASE.old))
    assert "[sodium]" in str(caught.value)
    assert CODEC.key_id_of(value) == "v1"
    assert PLAINTEXT not in value
