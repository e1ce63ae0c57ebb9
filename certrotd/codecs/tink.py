"""Tink's AEAD wire format with output prefix TINK: the default for new applications.

``0x01 | key id, 4 bytes big-endian | nonce, 12 | ciphertext | tag, 16``. Tink for Java, Go, C++ and
Python read and write it. Associated data binds a value to its place: table, column, primary key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from certrotd.codecs.aead import GCM, TAG, Aead, aead
from certrotd.codecs.errors import Damaged, WrongKey
from certrotd.codecs.port import MAX_BYTES, KeyIds, Traits, bounded, key_number, too_large, usable
from certrotd.keyring.material import Algorithm, DataKey

_MARK = b"\x01"
PREFIX = 5
NONCE = 12
OVERHEAD = PREFIX + NONCE + TAG
_TRAITS = Traits(
    KeyIds.STRICT,
    GCM | {Algorithm.AES_128_GCM_SIV, Algorithm.AES_256_GCM_SIV, Algorithm.CHACHA20_POLY1305},
    associated_data=True,
    text=False,
    beginning=_MARK,
)


@dataclass(frozen=True)
class Tink:
    """Tink's AEAD ciphertext; a key without an id of its own has its version as key id.

    AES-192-GCM is read and written, although Tink refuses such keys, so that it can be left.
    """

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> str:
        """Tink's key id, in decimal."""
        bounded(ciphertext)
        if len(ciphertext) < OVERHEAD or ciphertext[:1] != _MARK:
            raise Damaged("the ciphertext is not of Tink's AEAD format")
        return str(int.from_bytes(ciphertext[1:PREFIX]))

    def key_id_for(self, key: DataKey) -> str:
        """Its id, or its version."""
        return key.id or str(key.version)

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext."""
        prefix, cipher = key.made(prefix_and_cipher)
        if not OVERHEAD <= len(ciphertext) <= MAX_BYTES or ciphertext[:PREFIX] != prefix:
            self.key_id_of(ciphertext)
            raise WrongKey
        nonce, sealed = ciphertext[PREFIX : PREFIX + NONCE], ciphertext[PREFIX + NONCE :]
        try:
            return cipher.decrypt(nonce, sealed, associated_data)
        except InvalidTag:
            raise WrongKey from None

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The ciphertext, under a fresh nonce."""
        prefix, cipher = key.made(prefix_and_cipher)
        if len(plaintext) > MAX_BYTES - OVERHEAD:
            raise too_large(len(plaintext))
        nonce = os.urandom(NONCE)
        return prefix + nonce + cipher.encrypt(nonce, plaintext, associated_data)

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """The first five bytes."""
        return (_prefix(key_id),)


def _prefix(key_id: str) -> bytes:
    return _MARK + key_number(key_id, most=2**32 - 1).to_bytes(4)


def prefix_and_cipher(key: DataKey) -> tuple[bytes, Aead]:
    """What ciphertext under ``key`` begins with, and its cipher: for callers that keep both.

    Raises Unsupported.
    """
    usable(_TRAITS, key)
    return _prefix(key.id or str(key.version)), aead(key)
