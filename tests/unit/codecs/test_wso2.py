"""WSO2's values that no server wrote, and those that have no MAC."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from certrotd.codecs.errors import CodecError, Damaged, Unsupported, WrongKey
from certrotd.codecs.expectation import Json, Utf8
from certrotd.codecs.selection import candidates, decrypt
from certrotd.codecs.wso2 import Wso2
from certrotd.keyring.material import KeySet
from tests.contract.codec_cases import CASES, PLAINTEXT, reencrypt

CASE = CASES["wso2"]()
BOTH = KeySet.of([CASE.old, CASE.new], active=2)


def ecb(plaintext: bytes) -> bytes:
    """As servers of 5.11 and before: AES in ECB mode under the old key."""
    padding = 16 - len(plaintext) % 16
    context = Cipher(algorithms.AES(CASE.old.material.reveal()), modes.ECB()).encryptor()
    return context.update(plaintext + bytes([padding]) * padding) + context.finalize()


def encoded(value: object) -> str:
    """``value`` as JSON in base64, as WSO2 nests it."""
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


OUTER: dict[str, Any] = json.loads(base64.b64decode(CASE.sample()))
INNER: dict[str, Any] = json.loads(base64.b64decode(OUTER["c"]))
LEGACY = [
    base64.b64encode(ecb(PLAINTEXT)),
    encoded({"c": base64.b64encode(ecb(PLAINTEXT)).decode(), "t": "AES"}).encode(),
]


def changed(**inner: object) -> bytes:
    """The sample with other inner members; None takes one away."""
    members = {k: v for k, v in (INNER | inner).items() if v is not None}
    return encoded(OUTER | {"c": encoded(members)}).encode()


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (changed(keyId="AAAA"), Damaged, "no SHA-256"),
        (changed(keyId=7), Damaged, "no text keyId"),
        (changed(cipher=base64.b64encode(bytes(15)).decode()), Damaged, "too short"),
        (changed(cipher=None), Damaged, "no text cipher"),
        (changed(more=1), Unsupported, "would lose"),
        (changed(initializationVector=base64.b64encode(bytes(16)).decode()), Damaged, "differ"),
        (encoded(OUTER | {"kid": "x"}).encode(), Unsupported, "would lose"),
        (encoded(OUTER | {"t": "RSA"}).encode(), Unsupported, "neither"),
        (encoded(OUTER | {"t": "AES"}).encode(), Unsupported, "neither"),
        (encoded({"c": "AAAA", "t": "AES"}).encode(), Damaged, "whole blocks"),
        (b"AAAA", Damaged, "few members"),
    ],
)
def test_a_value_that_is_not_as_wso2_writes_it_is_refused(
    value: bytes, kind: type[CodecError], says: str
) -> None:
    """Whatever the key."""
    with pytest.raises(kind, match=says):
        Wso2(Utf8()).decrypt(value, CASE.old)


@pytest.mark.parametrize("length", [11, 129])
def test_an_initialization_vector_of_a_length_that_none_has_is_refused(length: int) -> None:
    """From 12 to 128 bytes are read."""
    iv = base64.b64encode(bytes(length)).decode()
    value = encoded(OUTER | {"c": encoded(INNER | {"initializationVector": iv}), "iv": iv})
    with pytest.raises(Damaged, match="12 to 128"):
        Wso2().key_id_of(value.encode())


@pytest.mark.parametrize("stored", LEGACY)
def test_a_value_without_a_mac_opens_only_where_its_plaintext_is_told(stored: bytes) -> None:
    """And then only as that."""
    assert Wso2(Json()).decrypt(stored, CASE.old) == PLAINTEXT
    with pytest.raises(Unsupported, match="no MAC"):
        Wso2().decrypt(stored, CASE.old)


@pytest.mark.parametrize("stored", LEGACY)
def test_a_wrong_key_is_the_same_error_whatever_failed(stored: bytes) -> None:
    """Padding that is right by chance, and a plaintext that is not as told: no oracle."""
    messages = set()
    for first in range(256):
        secret = bytes([first]) + CASE.new.material.reveal()[1:]
        key = replace(CASE.old, material=type(CASE.old.material)(secret))
        with pytest.raises(WrongKey) as caught:
            Wso2(Json()).decrypt(stored, key)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_no_key_of_several_is_tried_on_a_value_without_a_mac() -> None:
    """Who knows which key it is gives that one alone; what names its key is no question."""
    with pytest.raises(Unsupported, match="which of several"):
        decrypt(Wso2(Json()), LEGACY[0], BOTH)
    alone = KeySet.of([CASE.old], active=1)
    assert decrypt(Wso2(Json()), LEGACY[0], alone).plaintext == PLAINTEXT
    assert candidates(Wso2(Json()), CASE.sample(), BOTH) == (CASE.old,)


def test_re_encryption_leaves_ecb_and_names_the_key() -> None:
    """What replaces a value without a MAC has one."""
    written = Wso2(Json()).encrypt(PLAINTEXT, CASE.new, replacing=LEGACY[0])
    assert Wso2().decrypt(written, CASE.new) == PLAINTEXT
    assert Wso2().key_id_of(written) == Wso2().key_id_for(CASE.new)


def test_an_empty_value_stays_one_and_a_new_one_has_a_tag() -> None:
    """WSO2 writes an empty plaintext without a tag."""
    empty = changed(cipher="")
    with pytest.raises(Unsupported, match="no MAC"):
        Wso2().decrypt(empty, CASE.old)
    moved = reencrypt(Wso2(Utf8()), empty, BOTH)
    assert json.loads(base64.b64decode(json.loads(base64.b64decode(moved))["c"]))["cipher"] == ""
    assert Wso2(Utf8()).decrypt(moved, CASE.new) == b""
    with pytest.raises(WrongKey):
        Wso2(Json()).decrypt(empty, CASE.old)
    assert Wso2().decrypt(Wso2().encrypt(b"", CASE.old), CASE.old) == b""


def test_a_value_of_64_bytes_becomes_one_of_952_characters() -> None:
    """As WSO2's own: a column of 1,024 characters holds no more than that."""
    assert len(CASE.codec.encrypt(b"x" * 64, CASE.old)) == 952
