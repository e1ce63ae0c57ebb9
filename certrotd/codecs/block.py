"""AES in modes without a MAC, with PKCS#7 padding: only for what applications store so."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from certrotd.codecs.errors import WrongKey
from certrotd.keyring.material import DataKey

BLOCK = 16


def decrypt_ecb(key: DataKey, data: bytes) -> bytes:
    """The plaintext of whole blocks in ECB mode; raises WrongKey."""
    return _decrypted(key, modes.ECB(), data)  # noqa: S305  # it is read, never written


def decrypt_cbc(key: DataKey, iv: bytes, data: bytes) -> bytes:
    """The plaintext of whole blocks in CBC mode; raises WrongKey."""
    return _decrypted(key, modes.CBC(iv), data)


def encrypt_cbc(key: DataKey, iv: bytes, plaintext: bytes) -> bytes:
    """``plaintext``, padded, in CBC mode."""
    padder = PKCS7(BLOCK * 8).padder()
    padded = padder.update(plaintext) + padder.finalize()
    context = Cipher(algorithms.AES(key.material.reveal()), modes.CBC(iv)).encryptor()
    return context.update(padded) + context.finalize()


def _decrypted(key: DataKey, mode: modes.ECB | modes.CBC, data: bytes) -> bytes:
    context = Cipher(algorithms.AES(key.material.reveal()), mode).decryptor()
    padded = context.update(data) + context.finalize()
    unpadder = PKCS7(BLOCK * 8).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise WrongKey from None
