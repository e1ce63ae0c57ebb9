"""AES in modes without a MAC, with PKCS#7 padding: only for what applications store so."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.modes import (
    ModeWithInitializationVector,
    ModeWithNonce,
)
from cryptography.hazmat.primitives.padding import PKCS7

from certrotd.codecs.errors import WrongKey
from certrotd.keyring.material import DataKey

BLOCK = 16
Mode = ModeWithInitializationVector | ModeWithNonce | modes.ECB


def decrypt_ecb(key: DataKey, data: bytes) -> bytes:
    """The plaintext of whole blocks in ECB mode; raises WrongKey."""
    mode = modes.ECB()  # noqa: S305  # it is read, never written
    return unpad(decrypt_blocks(key.material.reveal(), mode, data))


def decrypt_cbc(key: DataKey, iv: bytes, data: bytes) -> bytes:
    """The plaintext of whole blocks in CBC mode; raises WrongKey."""
    return unpad(decrypt_blocks(key.material.reveal(), modes.CBC(iv), data))


def encrypt_cbc(key: DataKey, iv: bytes, plaintext: bytes) -> bytes:
    """``plaintext``, padded, in CBC mode."""
    return encrypt_blocks(key.material.reveal(), modes.CBC(iv), pad(plaintext))


def encrypt_blocks(secret: bytes, mode: Mode, data: bytes) -> bytes:
    """``data`` by AES in ``mode``, without padding."""
    context = Cipher(algorithms.AES(secret), mode).encryptor()
    return context.update(data) + context.finalize()


def decrypt_blocks(secret: bytes, mode: Mode, data: bytes) -> bytes:
    """What ``encrypt_blocks`` was given."""
    context = Cipher(algorithms.AES(secret), mode).decryptor()
    return context.update(data) + context.finalize()


def pad(plaintext: bytes) -> bytes:
    """``plaintext`` with PKCS#7 padding (RFC 5652 §6.3)."""
    padder = PKCS7(BLOCK * 8).padder()
    return padder.update(plaintext) + padder.finalize()


def unpad(padded: bytes) -> bytes:
    """``padded`` without its PKCS#7 padding; raises WrongKey."""
    unpadder = PKCS7(BLOCK * 8).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise WrongKey from None
