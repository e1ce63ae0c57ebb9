"""The AEAD ciphers of keys."""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm

from certrotd.codecs.errors import Unsupported, WrongKey
from certrotd.keyring.material import Algorithm, DataKey

GCM = frozenset({Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM})
TAG = 16
"""The length of every tag here, in bytes; a shorter one is easier to forge and is refused."""


class Aead(Protocol):
    """A cipher of the AEAD interface (RFC 5116): what it encrypts ends in a tag of 16 bytes."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Ciphertext and tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Plaintext; raises InvalidTag."""
        ...


def aead(key: DataKey) -> Aead:
    """The cipher of ``key``; raises Unsupported where the machine's OpenSSL has none."""
    from cryptography.hazmat.primitives.ciphers import aead as ciphers

    secret = key.material.reveal()
    try:
        match key.algorithm:
            case Algorithm.AES_128_GCM | Algorithm.AES_192_GCM | Algorithm.AES_256_GCM:
                return ciphers.AESGCM(secret)
            case Algorithm.AES_128_GCM_SIV | Algorithm.AES_256_GCM_SIV:
                return ciphers.AESGCMSIV(secret)
            case Algorithm.CHACHA20_POLY1305:
                return ciphers.ChaCha20Poly1305(secret)
    except UnsupportedAlgorithm:
        raise Unsupported(f"the OpenSSL of this machine has no {key.algorithm}") from None
    raise Unsupported(f"{key.algorithm} is no AEAD cipher")


def opened(cipher: Aead, nonce: bytes, sealed: bytes, associated_data: bytes = b"") -> bytes:
    """The plaintext of ``sealed``, ciphertext and tag; raises WrongKey."""
    try:
        return cipher.decrypt(nonce, sealed, associated_data)
    except InvalidTag:
        raise WrongKey from None
