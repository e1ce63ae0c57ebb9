"""AES in modes without a MAC: only for what applications stored so."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from certrotd.codecs.errors import WrongKey
from certrotd.keyring.material import DataKey

BLOCK = 16


def decrypt_ecb(key: DataKey, data: bytes) -> bytes:
    """The plaintext of whole blocks in ECB mode with PKCS#7 padding; raises WrongKey."""
    return _decrypted(key, modes.ECB(), data)  # noqa: S305  # it is read, never written


def _decrypted(key: DataKey, mode: modes.ECB | modes.CBC, data: bytes) -> bytes:
    context = Cipher(algorithms.AES(key.material.reveal()), mode).decryptor()
    padded = context.update(data) + context.finalize()
    unpadder = PKCS7(BLOCK * 8).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise WrongKey from None
