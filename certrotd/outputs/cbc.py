"""AES-CBC with padding, by which symmetric-encryption wraps the keys in its files."""

from __future__ import annotations

from certrotd.outputs.errors import NotExpressible

BLOCK = 16


def wrap(key: bytes, iv: bytes, data: bytes) -> bytes:
    """``data``, padded and encrypted."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    count = BLOCK - len(data) % BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data + bytes([count]) * count) + encryptor.finalize()


def unwrap(key: bytes, iv: bytes, data: bytes, *, where: str) -> bytes:
    """What was wrapped; raises NotExpressible where it is not of this key, as far as padding tells.

    There is no MAC: one wrong key in 256 gives something, of another length nearly always.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(key) not in (16, 24, 32) or len(iv) != BLOCK or not data or len(data) % BLOCK:
        raise NotExpressible(f"{where}: a key, its iv or what it encrypts has a wrong length")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(data) + decryptor.finalize()
    count = padded[-1]
    if not 0 < count <= BLOCK or padded[-count:] != bytes([count]) * count:
        raise NotExpressible(f"{where}: its key-encrypting key does not decrypt it")
    return padded[:-count]
