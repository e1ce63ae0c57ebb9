"""How applications make the key of a cipher from the text of their configuration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from certrotd.errors import InvalidInput

MAX_ITERATIONS = 10_000_000
_MAX_SCRYPT = 256 * 1024 * 1024
_DIGESTS = frozenset({"md5", "sha1", "sha256", "sha384", "sha512"})
_FITTING = {"hkdf": _DIGESTS - {"md5"}, "pbkdf2": _DIGESTS - {"md5"}, "evp_bytes_to_key": _DIGESTS}


class KdfName(StrEnum):
    """Key derivation functions; ``none``: the key is the cipher's own."""

    NONE = "none"
    SHA256 = "sha256"
    PBKDF2 = "pbkdf2"
    SCRYPT = "scrypt"
    HKDF = "hkdf"
    EVP_BYTES_TO_KEY = "evp_bytes_to_key"


@dataclass(frozen=True)
class Kdf:
    """A derivation with its parameters, which are the configuration's, never the ciphertext's.

    PBKDF2 is of RFC 8018 §5.2, scrypt of RFC 7914, HKDF of RFC 5869; EVP_BytesToKey is OpenSSL's
    with one iteration, as ``openssl enc`` and CryptoJS have it. ``hashed``: it is given the
    SHA-256 of the secret. Raises InvalidInput.
    """

    name: KdfName = KdfName.NONE
    digest: str = "sha256"
    iterations: int = 0
    salt: bytes = field(default=b"", repr=False)
    info: bytes = b""
    n: int = 0
    r: int = 8
    p: int = 1
    hashed: bool = False

    def __post_init__(self) -> None:
        fitting = _FITTING.get(self.name, frozenset({"sha256"}))
        if self.digest not in fitting:
            raise InvalidInput(f"kdf {self.name} takes the digests {', '.join(sorted(fitting))}")
        if self.name is KdfName.PBKDF2:
            if not 1 <= self.iterations <= MAX_ITERATIONS:
                raise InvalidInput(f"kdf pbkdf2 takes from 1 to {MAX_ITERATIONS} iterations")
        elif self.iterations:
            raise InvalidInput(f"kdf {self.name} takes no iterations")
        if self.info and self.name is not KdfName.HKDF:
            raise InvalidInput(f"kdf {self.name} takes no info")
        if self.salt and not self.salted:
            raise InvalidInput(f"kdf {self.name} takes no salt")
        if self.hashed and not self.salted:
            raise InvalidInput(f"kdf {self.name} takes no hashed secret")
        self._check_scrypt()

    def _check_scrypt(self) -> None:
        if self.name is not KdfName.SCRYPT:
            if (self.n, self.r, self.p) != (0, 8, 1):
                raise InvalidInput(f"kdf {self.name} takes neither n, r nor p")
            return
        if self.n < 2 or self.n & (self.n - 1) or not 1 <= self.p <= 16 or self.r < 1:
            raise InvalidInput("kdf scrypt takes n, a power of two, r from 1, and p from 1 to 16")
        if 128 * self.n * self.r > _MAX_SCRYPT:
            raise InvalidInput("kdf scrypt takes at most 256 MiB: 128 times n times r")

    @property
    def salted(self) -> bool:
        """Whether it takes a salt."""
        return self.name not in (KdfName.NONE, KdfName.SHA256)

    def most(self) -> int:
        """How many bytes it makes at most."""
        match self.name:
            case KdfName.NONE | KdfName.SHA256:
                return 32
        return 1024

    def derive(self, secret: bytes, salt: bytes, length: int) -> bytes:
        """``length`` bytes, with ``salt`` of the ciphertext, or that of the configuration."""
        salt = salt or self.salt
        secret = hashlib.sha256(secret).digest() if self.hashed else secret
        match self.name:
            case KdfName.SHA256:
                return hashlib.sha256(secret).digest()[:length]
            case KdfName.PBKDF2:
                return hashlib.pbkdf2_hmac(self.digest, secret, salt, self.iterations, length)
            case KdfName.SCRYPT:
                return hashlib.scrypt(
                    secret, salt=salt, n=self.n, r=self.r, p=self.p,
                    maxmem=2 * _MAX_SCRYPT, dklen=length,
                )  # fmt: skip
            case KdfName.HKDF:
                return self._hkdf(secret, salt, length)
            case KdfName.EVP_BYTES_TO_KEY:
                return self._bytes_to_key(secret, salt, length)
        return secret

    def _hkdf(self, secret: bytes, salt: bytes, length: int) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        made = getattr(hashes, self.digest.upper())()
        return HKDF(made, length, salt, self.info).derive(secret)

    def _bytes_to_key(self, secret: bytes, salt: bytes, length: int) -> bytes:
        found = block = b""
        while len(found) < length:
            block = hashlib.new(self.digest, block + secret + salt, usedforsecurity=False).digest()
            found += block
        return found[:length]
