"""Ciphertext of a transit engine: its key's version is read, the rest is the server's."""

import base64

import pytest

from certrotd.codecs.errors import Damaged, TooLarge, Unsupported
from certrotd.codecs.port import MAX_BYTES, Codec
from certrotd.codecs.vault_transit import VaultTransit
from certrotd.keyring.material import Algorithm
from tests.contract.codec_cases import key_of

CODEC: Codec = VaultTransit()
KEY = key_of(Algorithm.AES_256_GCM, 12)
BODY = base64.b64encode(bytes(12 + 16 + 11))


def test_the_version_of_the_servers_key_is_read() -> None:
    """And is the one that a key of that version has."""
    assert CODEC.key_id_of(b"vault:v12:" + BODY) == CODEC.key_id_for(KEY) == "v12"


def test_a_census_tells_version_1_from_version_12() -> None:
    """The colon is part of the prefix."""
    (prefix,) = CODEC.sql_prefixes("v1")
    assert prefix == b"vault:v1:"
    assert not (b"vault:v12:" + BODY).startswith(prefix)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"vault:v0:" + BODY,
        b"vault:v01:" + BODY,
        b"vault:v12345678901:" + BODY,
        b"vault:1:" + BODY,
        b"Vault:v1:" + BODY,
        b"vault:v1:" + BODY + b"\n",
        b"vault:v1:" + BODY[:-2],
        b"vault:v1:" + base64.b64encode(bytes(27)),
        b"vault:v1:",
    ],
)
def test_anything_else_is_damaged(text: bytes) -> None:
    """Also a body that is too short for a nonce and a tag."""
    with pytest.raises(Damaged):
        CODEC.key_id_of(text)


def test_a_huge_value_is_refused() -> None:
    """Unread."""
    with pytest.raises(TooLarge):
        CODEC.key_id_of(bytes(MAX_BYTES + 1))


def test_encryption_and_decryption_are_left_to_the_server() -> None:
    """No key of it is ever here."""
    with pytest.raises(Unsupported, match="ask its transit engine"):
        CODEC.decrypt(b"vault:v12:" + BODY, KEY)
    with pytest.raises(Unsupported, match="ask its transit engine"):
        CODEC.encrypt(b"x", KEY)
    with pytest.raises(Unsupported, match="v and a number"):
        CODEC.sql_prefixes("v%")


def test_a_value_grows_by_what_is_declared() -> None:
    """The longest version included."""
    for length in range(40):
        written = b"vault:v9999999999:" + base64.b64encode(bytes(12 + 16 + length))
        assert CODEC.growth(length) == len(written) - length
