"""What WSO2 Identity Server and API Manager store, by their SymmetricKeyInternalCryptoProvider.

``base64({"c":base64({"cipher":…,"initializationVector":…,"keyId":…}),"t":"AES/GCM/NoPadding",
"iv":…})``: the iv has 128 bytes, and keyId is the SHA-256 of the key. Older values have no keyId.
Still older ones are AES in ECB mode, as ``base64({"c":…,"t":"AES"})`` or as bare base64: no MAC, no
key id. A key of 48 or 64 characters in the server's configuration is hexadecimal, any other is its
characters: what is a key's material here, whoever reads the configuration decides.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from certrotd.codecs.aead import GCM, TAG, aead, opened
from certrotd.codecs.block import BLOCK, decrypt_ecb
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.expectation import Expectation
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import json_object, text_field, unbase64
from certrotd.keyring.material import DataKey

_IV = 128
_GCM = b"AES/GCM/NoPadding"
_KEY_ID = 44  # a SHA-256 in base64


class _Value(NamedTuple):
    """A stored value; without an iv it is of ECB mode."""

    key_id: str | None
    iv: bytes
    sealed: bytes


@dataclass(frozen=True)
class Wso2:
    """Self-contained AES-GCM values; it reads what has no MAC only where ``plaintext`` is told.

    What has no MAC: ECB, and the empty value, which WSO2 leaves without a tag. ``key_ids``: whether
    keyId is written (``encryption.enable_key_id`` of the server). All that is written is AES-GCM
    with a tag, but what replaces an empty value is one.
    """

    plaintext: Expectation | None = None
    key_ids: bool = True

    @cached_property
    def traits(self) -> Traits:
        """Authenticated where no plaintext is told."""
        key_id = KeyIds.STRICT if self.key_ids else KeyIds.NONE
        return Traits(key_id, GCM, authenticated=self.plaintext is None)

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """keyId, None in older values."""
        return _parsed(ciphertext).key_id

    def key_id_for(self, key: DataKey) -> str:
        """The SHA-256 of its material, in base64."""
        return key.made(_key_id)

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext."""
        usable(self.traits, key, associated_data)
        value = _parsed(ciphertext)
        if value.key_id not in (None, self.key_id_for(key)):
            raise WrongKey
        if value.iv and value.sealed:
            return opened(key.made(aead), value.iv, value.sealed)
        if self.plaintext is None:
            raise Unsupported(
                "the ciphertext has no MAC: it is empty, or of ECB mode",
                hint="say what its plaintext looks like, and it is read",
            )
        found = decrypt_ecb(key, value.sealed) if value.sealed else b""
        if not self.plaintext.holds(found):
            raise WrongKey
        return found

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The value as AES-GCM, its names in the order that WSO2 writes them."""
        usable(self.traits, key, associated_data)
        iv = os.urandom(BLOCK) + bytes(_IV - BLOCK)
        sealed = key.made(aead).encrypt(iv, bounded(plaintext), None)
        if not plaintext and replacing is not None and not _parsed(replacing).sealed:
            sealed = b""
        text = _base64(iv)
        named = f',"keyId":"{self.key_id_for(key)}"' if self.key_ids else ""
        inner = f'{{"cipher":"{_base64(sealed)}","initializationVector":"{text}"{named}}}'
        outer = f'{{"c":"{_base64(inner.encode())}","t":"{_GCM.decode()}","iv":"{text}"}}'
        return bounded(base64.b64encode(outer.encode()))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """None: keyId comes last."""
        return ()


def _key_id(key: DataKey) -> str:
    return _base64(hashlib.sha256(key.material.reveal()).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _parsed(ciphertext: bytes) -> _Value:
    data = unbase64(bounded(ciphertext))
    try:
        outer = json_object(data)
    except Damaged:
        if data and len(data) % BLOCK == 0:
            return _Value(None, b"", data)
        raise
    if outer.keys() - {"c", "t", "iv"}:
        raise Unsupported("the ciphertext's JSON has members that re-encryption would lose")
    content, algorithm = unbase64(text_field(outer, "c")), text_field(outer, "t")
    if algorithm == b"AES" and "iv" not in outer:
        if len(content) % BLOCK:
            raise Damaged("the ciphertext is not of whole blocks")
        return _Value(None, b"", content)
    if algorithm != _GCM:
        raise Unsupported("the ciphertext is neither of AES/GCM/NoPadding nor of AES")
    return _inner(content, text_field(outer, "iv"))


def _inner(content: bytes, outer_iv: bytes) -> _Value:
    inner = json_object(content)
    if inner.keys() - {"cipher", "initializationVector", "keyId"}:
        raise Unsupported("the ciphertext's JSON has members that re-encryption would lose")
    iv_text = text_field(inner, "initializationVector")
    if iv_text != outer_iv:
        raise Damaged("the ciphertext has two initialization vectors that differ")
    iv, sealed = unbase64(iv_text), unbase64(text_field(inner, "cipher"))
    if not 12 <= len(iv) <= _IV:
        raise Damaged("the ciphertext's initialization vector has not 12 to 128 bytes")
    if sealed and len(sealed) < TAG:
        raise Damaged("the ciphertext is too short for a tag")
    key_id = None
    if "keyId" in inner:
        key_id = text_field(inner, "keyId").decode("ascii")
        if len(key_id) != _KEY_ID:
            raise Damaged("the ciphertext's keyId is no SHA-256")
    return _Value(key_id, iv, sealed)
