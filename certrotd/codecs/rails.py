"""What Rails' Active Record Encryption stores.

``{"p":…,"h":{"iv":…,"at":…,"i":…,"c":true}}`` in base64: AES-256-GCM by a key that PBKDF2 makes of
the configured one and ``key_derivation_salt``. ``i`` is there with ``store_key_references``: the
first four digits of the key's SHA-1, which keys may share. ``c``: the plaintext is compressed.
Deterministic values have an iv that is the HMAC of what is encrypted; to be found by the
application, the JSON is the same to the byte.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from certrotd.codecs.aead import TAG, Aead, opened
from certrotd.codecs.compression import deflate, inflate
from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import unbase64
from certrotd.errors import InvalidInput
from certrotd.keyring.material import Algorithm, DataKey

ITERATIONS = 2**16
_KEY_BYTES = 32
_NONCE = 12
_COMPRESSED_FROM = 141
_BASE64 = rb'([A-Za-z0-9+/=]*)"'
_BEGINNING = b'{"p":"'
_FORM = re.compile(
    re.escape(_BEGINNING) + _BASE64 + rb',"h":\{"iv":"' + _BASE64 + rb',"at":"' + _BASE64
    + rb'(?:,"i":"' + _BASE64 + rb")?" + rb'(,"c":true)?\}\}\Z'
)  # fmt: skip
_LOOSE = re.compile(re.escape(_BEGINNING) + rb'[A-Za-z0-9+/=]*","h":\{"')
_KEY_ID = re.compile(r"[0-9a-f]{4}\Z")


class _Message(NamedTuple):
    """A stored value."""

    sealed: bytes
    iv: bytes
    key_id: str | None
    compressed: bool


@dataclass(frozen=True)
class ActiveRecord:
    """Values of attributes that ``encrypts`` declares.

    ``digest``: sha256, the default from Rails 7.1 on, or sha1. ``key_references``: whether ``i`` is
    written. ``compress``: as the attribute's option. ``iterations`` is Rails' own, which nothing
    configures; a test may take fewer. Raises InvalidInput.
    """

    salt: bytes = field(repr=False)
    deterministic: bool = False
    digest: str = "sha256"
    key_references: bool = False
    compress: bool = True
    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        if not self.salt:
            raise InvalidInput("key_derivation_salt is empty")
        if self.digest not in ("sha1", "sha256"):
            raise InvalidInput("Rails derives keys with the digests sha1 and sha256")

    @cached_property
    def traits(self) -> Traits:
        """A key is named by a hint, if at all."""
        key_id = KeyIds.FINGERPRINT if self.key_references else KeyIds.NONE
        algorithms = frozenset({Algorithm.PASSPHRASE})
        return Traits(key_id, algorithms, deterministic=self.deterministic, beginning=_BEGINNING)

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """The header ``i``: four digits."""
        return _parsed(ciphertext).key_id

    def key_id_for(self, key: DataKey) -> str:
        """The beginning of the SHA-1 of the derived key."""
        found = hashlib.sha1(key.made(self._derived), usedforsecurity=False)
        return found.hexdigest()[:4]

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext; deterministic or not."""
        usable(self.traits, key, associated_data)
        found = _parsed(ciphertext)
        if found.key_id not in (None, self.key_id_for(key)):
            raise WrongKey
        plaintext = opened(self._aead(key), found.iv, found.sealed)
        return inflate(plaintext) if found.compressed else plaintext

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The JSON as Rails writes it.

        What is over 140 bytes is compressed where that is shorter, as Rails decides, so that a
        value that replaces another is what the application itself would write.
        """
        usable(self.traits, key, associated_data)
        data = bounded(plaintext)
        if self.compress and len(plaintext) >= _COMPRESSED_FROM:
            shorter = deflate(plaintext, as_gzip=False)
            data = shorter if len(shorter) < len(plaintext) else plaintext
        iv = os.urandom(_NONCE)
        if self.deterministic:
            iv = hmac.digest(key.made(self._derived), data, "sha256")[:_NONCE]
        sealed = self._aead(key).encrypt(iv, data, None)
        named = f',"i":"{_text(self.key_id_for(key).encode())}"' if self.key_references else ""
        flag = ',"c":true' if data is not plaintext else ""
        headers = f'"iv":"{_text(iv)}","at":"{_text(sealed[-TAG:])}"{named}{flag}'
        return bounded(f'{{"p":"{_text(sealed[:-TAG])}","h":{{{headers}}}}}'.encode("ascii"))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """None: the key's hint comes after the ciphertext."""
        return ()

    def _derived(self, key: DataKey) -> bytes:
        kdf = Kdf(KdfName.PBKDF2, self.digest, self.iterations)
        return kdf.derive(key.material.reveal(), self.salt, _KEY_BYTES)

    def _aead(self, key: DataKey) -> Aead:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(key.made(self._derived))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _parsed(ciphertext: bytes) -> _Message:
    match = _FORM.match(bounded(ciphertext))
    if match is None:
        if _LOOSE.match(ciphertext):
            raise Unsupported("the ciphertext has headers that re-encryption would lose, as k or e")
        raise Damaged("the ciphertext is no message of Active Record Encryption")
    data, iv, tag = (unbase64(match[n]) for n in (1, 2, 3))
    if len(iv) != _NONCE or len(tag) != TAG:
        raise Damaged("the ciphertext's iv has not 12 bytes, or its tag not 16")
    key_id = None
    if match[4] is not None:
        key_id = unbase64(match[4]).decode("ascii", "replace")
        if not _KEY_ID.match(key_id):
            raise Damaged("the ciphertext's i is no beginning of a SHA-1")
    return _Message(data + tag, iv, key_id, match[5] is not None)
