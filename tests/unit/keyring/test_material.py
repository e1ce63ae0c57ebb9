"""Keys as values: nothing shows their bytes, and none is of a length its algorithm has not."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from certrotd.errors import InvalidInput
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material

SECRET = bytes(range(32))
KEY = DataKey(1, Algorithm.AES_256_GCM, Material(SECRET))


@pytest.mark.parametrize("show", [repr, str, ascii])
@pytest.mark.parametrize(
    "value", [KEY.material, replace(KEY, iv=SECRET), KeySet.of([KEY], active=1)]
)
def test_no_text_of_a_key_shows_its_bytes(value: object, show: Callable[[object], str]) -> None:
    """Logs and tracebacks are made of such texts."""
    text = show(value)
    assert SECRET.hex() not in text
    assert repr(SECRET)[2:30] not in text


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_material_is_neither_pickled_nor_copied(act: Callable[[object], object]) -> None:
    """Not even by accident, to another process."""
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        act(KEY.material)


def test_equal_material_is_equal_and_anything_else_is_not() -> None:
    """Also to what is no material."""
    assert Material(SECRET) == Material(bytes(range(32)))
    assert len({Material(SECRET), Material(SECRET)}) == 1
    assert Material(SECRET) != Material(SECRET[::-1])
    assert Material(SECRET) != SECRET


def test_every_algorithm_knows_the_length_of_its_keys() -> None:
    """As their specifications have it."""
    lengths = {str(a): a.key_bytes for a in Algorithm}
    assert lengths == {
        "aes-128-gcm": 16,
        "aes-192-gcm": 24,
        "aes-256-gcm": 32,
        "aes-128-gcm-siv": 16,
        "aes-256-gcm-siv": 32,
        "chacha20-poly1305": 32,
        "xsalsa20-poly1305": 32,
        "fernet": 32,
        "aes-128-cbc": 16,
        "aes-192-cbc": 24,
        "aes-256-cbc": 32,
        "age-x25519": 32,
        "passphrase": 32,
    }


@pytest.mark.parametrize("length", [0, 1025])
def test_a_passphrase_has_any_length_within_reason(length: int) -> None:
    """An application derives its key from it; an empty one is a missing one."""
    for fitting in (1, 4, 33, 1024):
        assert len(DataKey(1, Algorithm.PASSPHRASE, Material(bytes(fitting))).material) == fitting
    with pytest.raises(InvalidInput, match="from 1 to 1024"):
        DataKey(1, Algorithm.PASSPHRASE, Material(bytes(length)))


@pytest.mark.parametrize(
    ("version", "secret", "key_id", "says"),
    [
        (0, SECRET, "", "below 1"),
        (1, SECRET[1:], "", "31 bytes of material: aes-256-gcm takes 32"),
        (1, SECRET, "a" * 129, "over 128 characters"),
        (1, SECRET, "a\nb", "unprintable"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    version: int, secret: bytes, key_id: str, says: str
) -> None:
    """And the message shows no material."""
    with pytest.raises(InvalidInput, match=says) as caught:
        DataKey(version, Algorithm.AES_256_GCM, Material(secret), key_id)
    assert secret.hex() not in str(caught.value)


def test_what_is_made_of_a_key_is_made_once() -> None:
    """And belongs to that key alone, not to one that equals it."""
    made: list[int] = []

    def make(key: DataKey) -> int:
        made.append(key.version)
        return len(made)

    twin = replace(KEY)
    assert [KEY.made(make), KEY.made(make), twin.made(make)] == [1, 1, 2]
    assert twin == KEY


def test_a_set_begins_with_the_key_that_encrypts_and_goes_back_in_time() -> None:
    """The likeliest first."""
    keys = [replace(KEY, version=v) for v in (1, 4, 2, 3)]
    found = KeySet.of(keys, active=3)
    assert [k.version for k in found] == [3, 4, 2, 1]
    assert found.encrypting is keys[3]
    assert found.keys[4] is keys[1]


def test_a_set_without_the_key_that_encrypts_or_with_a_version_twice_is_refused() -> None:
    """Either would encrypt with a key by chance."""
    with pytest.raises(InvalidInput, match="key version 2 is to encrypt"):
        KeySet.of([KEY], active=2)
    with pytest.raises(InvalidInput, match="key version 1 is there twice"):
        KeySet.of([KEY, KEY], active=1)
