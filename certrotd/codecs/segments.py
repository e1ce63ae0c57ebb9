"""Streaming AES-256-GCM in segments: Tink's AES256_GCM_HKDF_1MB, which four languages read.

``40 | salt, 32 | nonce prefix, 7``, then segments of 1 MiB, the first of which is as much shorter
as that header, and the last as it is. Each is AES-256-GCM under HKDF-SHA256 (RFC 5869) of the key,
the salt and the context. Its nonce is ``prefix | number, 4 bytes big-endian | 1 if it is the
last`` (https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming).
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT = 1024 * 1024
TAG = 16
_SALT, _PREFIX = 32, 7
HEADER = 1 + _SALT + _PREFIX


class _Segments:
    """What both directions share: a buffer that holds a segment back until it is known to end."""

    def __init__(self, room: int) -> None:
        self._buffer = bytearray(room + SEGMENT)
        self._filled = 0
        self._number = 0
        self._aead: AESGCM | None = None
        self._prefix = b""

    def _derive(self, key: bytes, context: bytes, header: bytes) -> None:
        salt = header[1 : 1 + _SALT]
        derived = HKDF(SHA256(), 32, salt, context).derive(key)
        self._aead, self._prefix = AESGCM(derived), header[1 + _SALT :]

    def _nonce(self, *, last: bool) -> bytes:
        nonce = self._prefix + self._number.to_bytes(4) + bytes([last])
        self._number += 1
        return nonce

    def _take(self, data: memoryview) -> None:
        self._buffer[self._filled : self._filled + len(data)] = data
        self._filled += len(data)

    def _drop(self, size: int) -> None:
        left = self._filled - size
        self._buffer[:left] = self._buffer[size : self._filled]
        self._filled = left


class Encryptor(_Segments):
    """Encrypts under ``key``, bound to ``context``; as Cobblestone256Encryptor is used."""

    def __init__(self, key: bytes, context: bytes) -> None:
        super().__init__(SEGMENT)
        self._header = bytes([HEADER]) + os.urandom(_SALT + _PREFIX)
        self._derive(key, context, self._header)

    def update_into(self, data: memoryview, out: memoryview) -> int:
        """Write what is done of at most 1 MiB more into ``out``, and say how much that is."""
        self._take(data)
        done = self._begin(out)
        while self._filled > (size := self._plain):
            done += self._seal(size, out[done:], last=False)
        return done

    def finalize(self) -> bytes:
        """The rest."""
        out = memoryview(bytearray(HEADER + self._filled + TAG))
        done = self._begin(out)
        done += self._seal(self._filled, out[done:], last=True)
        return bytes(out[:done])

    @property
    def _plain(self) -> int:
        return SEGMENT - TAG - (HEADER if self._number == 0 else 0)

    def _begin(self, out: memoryview) -> int:
        header, self._header = self._header, b""
        out[: len(header)] = header
        return len(header)

    def _seal(self, size: int, out: memoryview, *, last: bool) -> int:
        assert self._aead is not None, "it is derived at the beginning"
        nonce, plaintext = self._nonce(last=last), memoryview(self._buffer)[:size]
        self._aead.encrypt_into(nonce, plaintext, None, out[: size + TAG])
        plaintext.release()
        self._drop(size)
        return size + TAG


class Decryptor(_Segments):
    """Decrypts what Encryptor made; every method raises InvalidTag for anything else."""

    def __init__(self, key: bytes, context: bytes) -> None:
        super().__init__(2 * SEGMENT)
        self._key, self._context = key, context

    def update_into(self, data: memoryview, out: memoryview) -> int:
        """Write what is done of at most 1 MiB more into ``out``, and say how much that is."""
        self._take(data)
        done = 0
        while self._begun() and self._filled > (size := self._sealed):
            done += self._open(size, out[done:], last=False)
        return done

    def finalize(self) -> bytes:
        """The rest."""
        if not self._begun() or self._filled < TAG:
            raise InvalidTag
        out = memoryview(bytearray(self._filled))
        return bytes(out[: self._open(self._filled, out, last=True)])

    @property
    def _sealed(self) -> int:
        return SEGMENT - (HEADER if self._number == 0 else 0)

    def _begun(self) -> bool:
        if self._aead is None and self._filled >= HEADER:
            header = bytes(self._buffer[:HEADER])
            if header[0] != HEADER:
                raise InvalidTag
            self._derive(self._key, self._context, header)
            self._drop(HEADER)
        return self._aead is not None

    def _open(self, size: int, out: memoryview, *, last: bool) -> int:
        assert self._aead is not None, "it has begun"
        nonce, sealed = self._nonce(last=last), memoryview(self._buffer)[:size]
        try:
            self._aead.decrypt_into(nonce, sealed, None, out[: size - TAG])
        finally:
            sealed.release()
        self._drop(size)
        return size - TAG
