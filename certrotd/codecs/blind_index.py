"""Blind indexes: keyed hashes beside ciphertext, by which applications find a value.

As the Ruby gem blind_index and the PHP library CipherSweet make them, and by a plain HMAC. Both
libraries derive the key of each index from one key (https://ciphersweet.paragonie.com, "Key
Hierarchy"): HKDF with SHA-384 by table and field, then HMAC-SHA256 by table, field and index.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from certrotd.codecs.derivation import Kdf
from certrotd.codecs.errors import Unsupported
from certrotd.errors import InvalidInput

KEY_BYTES = 32
_INDEX_KEYS = b"\x7e" * 32
_WHITE = "\t\n\v\f\r \0"
_NO_DIGITS = re.compile(r"[^0-9]")


class IndexFunction(StrEnum):
    """How the hash is made.

    Argon2id (RFC 9106) and PBKDF2 (RFC 8018) have the key as salt; that of CipherSweet's slow
    indexes is a hash of the key.
    """

    HMAC_SHA256 = "hmac-sha256"
    ARGON2ID = "argon2id"
    PBKDF2_SHA256 = "pbkdf2-sha256"
    PBKDF2_SHA384 = "pbkdf2-sha384"
    BLAKE2B = "blake2b"
    CIPHERSWEET_ARGON2ID = "ciphersweet-argon2id"


ITERATIONS: Mapping[IndexFunction, int] = {
    IndexFunction.ARGON2ID: 3,
    IndexFunction.PBKDF2_SHA256: 10_000,
    IndexFunction.PBKDF2_SHA384: 50_000,
    IndexFunction.CIPHERSWEET_ARGON2ID: 4,
}
"""What the libraries take unless told: blind_index, and CipherSweet for what is not fast."""
MEMORY_KIB: Mapping[IndexFunction, int] = {
    IndexFunction.ARGON2ID: 4096,
    IndexFunction.CIPHERSWEET_ARGON2ID: 32 * 1024,
}
MOST_MEMORY_KIB = 256 * 1024
_MOST: Mapping[IndexFunction, int] = {IndexFunction.HMAC_SHA256: 32, IndexFunction.BLAKE2B: 64}

_ANY_KEY = range(2**20)
_KEYS: Mapping[IndexFunction, range] = {
    IndexFunction.ARGON2ID: range(8, 2**20),  # it is the salt
    IndexFunction.BLAKE2B: range(65),
}
"""How long a key may be, in bytes."""


class IndexEncoding(StrEnum):
    """How it is stored."""

    BASE64 = "base64"
    HEX = "hex"
    RAW = "raw"


class Step(StrEnum):
    """What is done to a text before it is hashed."""

    STRIP = "strip"
    LOWER = "lower"
    UPPER = "upper"
    NFC = "nfc"
    NFKC = "nfkc"
    DIGITS = "digits"
    LAST_FOUR_DIGITS = "last-four-digits"


_STEPS: Mapping[Step, Callable[[str], str]] = {
    Step.STRIP: lambda text: text.strip(_WHITE),
    Step.LOWER: str.lower,
    Step.UPPER: str.upper,
    Step.NFC: lambda text: unicodedata.normalize("NFC", text),
    Step.NFKC: lambda text: unicodedata.normalize("NFKC", text),
    Step.DIGITS: lambda text: _NO_DIGITS.sub("", text),
    Step.LAST_FOUR_DIGITS: lambda text: _NO_DIGITS.sub("", text).rjust(4, "0")[-4:],
}


@dataclass(frozen=True)
class IndexNames:
    """Table, field and index, by which the libraries derive the key of an index."""

    table: str
    field: str
    index: str

    def key(self, secret: bytes) -> bytes:
        """The key of the index; that of blind_index has its column as field and index."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        table, field, index = (each.encode() for each in (self.table, self.field, self.index))
        root = HKDF(hashes.SHA384(), KEY_BYTES, table, _INDEX_KEYS + field).derive(secret)
        parts = (len(each).to_bytes(8, "little") + each for each in (table, field, index))
        return hmac.digest(root, (3).to_bytes(4, "little") + b"".join(parts), "sha256")


@dataclass(frozen=True)
class BlindIndex:
    """How an application makes one; 0 stands for what its library takes unless told.

    ``size`` is in bytes, before they are encoded; ``derives`` makes its key of the secret that
    the application has (None: it is that). Raises InvalidInput.
    """

    function: IndexFunction = IndexFunction.HMAC_SHA256
    derives: IndexNames | Kdf | None = None
    iterations: int = 0
    memory_kib: int = 0
    size: int = 32
    encoding: IndexEncoding = IndexEncoding.BASE64
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if self.iterations and self.function not in ITERATIONS:
            raise InvalidInput(f"{self.function} takes no iterations")
        if self.memory_kib and self.function not in MEMORY_KIB:
            raise InvalidInput(f"{self.function} takes no memory_kib")
        if self.memory_kib and not 8 <= self.memory_kib <= MOST_MEMORY_KIB:
            raise InvalidInput(f"memory_kib is from 8 to {MOST_MEMORY_KIB}")
        least = 4 if self.function is IndexFunction.ARGON2ID else 1
        most = _MOST.get(self.function, 64)
        if not least <= self.size <= most:
            raise InvalidInput(f"{self.function} makes from {least} to {most} bytes")

    @property
    def text(self) -> bool:
        """Whether it is stored as ASCII text."""
        return self.encoding is not IndexEncoding.RAW

    def key(self, secret: bytes) -> bytes:
        """The key of the index, made of what the application has; raises InvalidInput."""
        match self.derives:
            case None:
                if len(secret) not in _KEYS.get(self.function, _ANY_KEY):
                    raise InvalidInput(f"{self.function} takes no key of {len(secret)} bytes")
                return secret
            case IndexNames() as names:
                return names.key(secret)
            case Kdf() as kdf:
                return kdf.derive(secret, b"", KEY_BYTES)

    def of(self, plaintext: bytes, key: bytes) -> bytes:
        """The index of a value as it is stored; raises Unsupported for what is no text."""
        hashed = self._hashed(self._normalised(plaintext), key)[: self.size]
        match self.encoding:
            case IndexEncoding.BASE64:
                return base64.b64encode(hashed)
            case IndexEncoding.HEX:
                return hashed.hex().encode()
            case IndexEncoding.RAW:
                return hashed

    @property
    def _iterations(self) -> int:
        return self.iterations or ITERATIONS.get(self.function, 1)

    def _normalised(self, plaintext: bytes) -> bytes:
        if not self.steps:
            return plaintext
        try:
            text = plaintext.decode()
        except UnicodeDecodeError:
            raise Unsupported("its blind index is of text, and the value is none") from None
        for each in self.steps:
            text = _STEPS[each](text)
        return text.encode()

    def _hashed(self, data: bytes, key: bytes) -> bytes:
        match self.function:
            case IndexFunction.HMAC_SHA256:
                return hmac.digest(key, data, "sha256")
            case IndexFunction.PBKDF2_SHA256:
                return hashlib.pbkdf2_hmac("sha256", data, key, self._iterations, self.size)
            case IndexFunction.PBKDF2_SHA384:
                return hashlib.pbkdf2_hmac("sha384", data, key, self._iterations, self.size)
            case IndexFunction.BLAKE2B:
                return hashlib.blake2b(data, key=key, digest_size=max(self.size, 32)).digest()
            case IndexFunction.ARGON2ID:
                return self._argon2id(data, key, self.size)
            case IndexFunction.CIPHERSWEET_ARGON2ID:
                salt = hashlib.blake2b(key, digest_size=16).digest()
                return self._argon2id(data, salt, max(self.size, 16))

    def _argon2id(self, data: bytes, salt: bytes, length: int) -> bytes:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        memory = self.memory_kib or MEMORY_KIB[self.function]
        made = Argon2id(
            salt=salt, length=length, iterations=self._iterations, lanes=1, memory_cost=memory
        )
        return made.derive(data)
