"""Files of symmetric-encryption of any size, in constant memory.

What comes out is the content as it was encrypted: compressed where the header says so. Whoever
writes it writes it to a temporary file, which becomes the file only once all of it has come.
"""

from __future__ import annotations

import codecs
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from certrotd.codecs.aead import GCM, TAG, aead, opened
from certrotd.codecs.block import BLOCK
from certrotd.codecs.compression import EITHER_FRAME
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.symmetric_header import Header, with_tag, write_header
from certrotd.codecs.symmetric_keys import (
    CHUNK,
    NONCE,
    NONCE_PREFIX,
    chunk_nonce,
    fixed_iv,
    new_data_key,
    opened_data_key,
    version_of,
)
from certrotd.keyring.material import DataKey

PART = 1024 * 1024
Read = Callable[[int], bytes]
"""At most so many bytes of what comes next; none at the end."""
Write = Callable[[bytes], object]


class Check(Protocol):
    """Looks at a content as it comes, and raises WrongKey for what it cannot be."""

    def update(self, data: bytes) -> None:
        """The next part."""
        ...

    def finalize(self) -> None:
        """That was all."""
        ...


@dataclass(frozen=True)
class Body:
    """What is behind a ``header``: by which key it opens, and what proves that it was this one."""

    header: Header
    key: DataKey
    iv: bytes
    check: Check

    @classmethod
    def of(cls, header: Header, key: DataKey, *, text: bool) -> Body:
        """By ``key``, a version's; ``text``: the content is UTF-8. Raises CodecError.

        CBC has no MAC, and a wrong key seems to fit every 256th time. A key in the header, which
        must open to its exact length, and the checksum of gzip tell.
        """
        data_key = opened_data_key(header, key)
        by_gcm = bool(header.tag or header.chunk)
        if (data_key.algorithm in GCM) is not by_gcm:
            raise WrongKey
        check: Check = _Anything()
        if header.compressed:
            check = _Deflated()
        elif not by_gcm and not header.key and text:
            check = _Text()
        elif not by_gcm and not header.key:
            raise Unsupported(
                "the file has no MAC, no key of its own, and is not compressed",
                hint="if it is text, say so (content: utf8): nothing else tells a wrong key",
            )
        return cls(header, data_key, header.iv or fixed_iv(key), check)

    def open(self, read: Read, write: Write) -> None:
        """All of the content; raises CodecError, after a part was written."""

        def checked(data: bytes) -> None:
            self.check.update(data)
            write(data)

        if self.header.chunk:
            self._chunks(read, checked)
        elif self.header.tag:
            self._gcm(read, checked)
        else:
            self._cbc(read, checked)
        self.check.finalize()

    def _cbc(self, read: Read, write: Write) -> None:
        secret = self.key.material.reveal()
        cipher = Cipher(algorithms.AES(secret), modes.CBC(self.iv)).decryptor()
        unpadder = PKCS7(BLOCK * 8).unpadder()
        try:
            while data := read(PART):
                write(unpadder.update(cipher.update(data)))
            write(unpadder.update(cipher.finalize()) + unpadder.finalize())
        except ValueError:
            raise WrongKey from None

    def _gcm(self, read: Read, write: Write) -> None:
        mode = modes.GCM(self.iv, self.header.tag)
        cipher = Cipher(algorithms.AES(self.key.material.reveal()), mode).decryptor()
        cipher.authenticate_additional_data(self.header.authenticated)
        while data := read(PART):
            write(cipher.update(data))
        try:
            write(cipher.finalize())
        except InvalidTag:
            raise WrongKey from None

    def _chunks(self, read: Read, write: Write) -> None:
        cipher, size = self.key.made(aead), self.header.chunk + TAG
        frame, number = _filled(read, size), 0
        while frame:
            following = _filled(read, size)
            if len(frame) < TAG:
                raise Damaged("the ciphertext's last chunk is too short for a tag")
            nonce = chunk_nonce(self.iv, number, last=not following)
            write(opened(cipher, nonce, frame, self.header.authenticated))
            frame, number = following, number + 1


class Sealing(Protocol):
    """Encrypts a content as it comes."""

    def update(self, data: bytes) -> None:
        """The next part."""
        ...

    def finalize(self) -> None:
        """That was all."""
        ...


def sealing(key: DataKey, write: Write, *, compressed: bool, own_key: bool) -> Sealing:
    """What writes a file under ``key``; ``compressed`` says what the content is.

    With ``own_key`` the file has a key of its own. Raises CodecError.
    """
    data_key, wrapped = new_data_key(key) if own_key else (key, b"")
    form = _Form(version_of(key), data_key, wrapped, compressed, write)
    return _GcmSealing(form) if key.algorithm in GCM else _CbcSealing(form)


@dataclass(frozen=True)
class _Form:
    version: int
    key: DataKey
    wrapped: bytes
    compressed: bool
    write: Write

    def header(self, iv: bytes, *, chunk: int = 0, tag: bool = False) -> bytes:
        return write_header(
            self.version,
            compressed=self.compressed,
            iv=iv,
            key=self.wrapped,
            chunk=chunk,
            tag=tag,
        )


class _CbcSealing:
    def __init__(self, form: _Form) -> None:
        iv = os.urandom(BLOCK)
        self._write = form.write
        self._cipher = Cipher(algorithms.AES(form.key.material.reveal()), modes.CBC(iv)).encryptor()
        self._padder = PKCS7(BLOCK * 8).padder()
        self._write(form.header(iv))

    def update(self, data: bytes) -> None:
        self._write(self._cipher.update(self._padder.update(data)))

    def finalize(self) -> None:
        self._write(self._cipher.update(self._padder.finalize()) + self._cipher.finalize())


class _GcmSealing:
    """One chunk, whose tag is in the header, or several (version 5 of the gem)."""

    def __init__(self, form: _Form) -> None:
        self._form = form
        self._cipher = form.key.made(aead)
        self._prefix = os.urandom(NONCE_PREFIX)
        self._buffer = bytearray()
        self._header = b""
        self._number = 0

    def update(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at > CHUNK:
            self._chunk(bytes(self._buffer[at : at + CHUNK]), last=False)
            at += CHUNK
        del self._buffer[:at]

    def finalize(self) -> None:
        if self._header:
            self._chunk(bytes(self._buffer), last=True)
            return
        iv = os.urandom(NONCE)
        header = self._form.header(iv, tag=True)
        self._form.write(with_tag(header, self._cipher.encrypt(iv, bytes(self._buffer), header)))

    def _chunk(self, data: bytes, *, last: bool) -> None:
        if not self._header:
            self._header = self._form.header(self._prefix, chunk=CHUNK)
            self._form.write(self._header)
        nonce = chunk_nonce(self._prefix, self._number, last=last)
        self._form.write(self._cipher.encrypt(nonce, data, self._header))
        self._number += 1


class _Anything:
    """What is authenticated, or has a key of its own."""

    def update(self, data: bytes) -> None:
        pass

    def finalize(self) -> None:
        pass


class _Text:
    """UTF-8."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def update(self, data: bytes) -> None:
        self._decode(data)

    def finalize(self) -> None:
        self._decode(b"", final=True)

    def _decode(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._decoder.decode(data, final)
        except UnicodeDecodeError:
            raise WrongKey from None


class _Deflated:
    """One whole stream of zlib or gzip, whose checksum is right; what it holds is dropped."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(EITHER_FRAME)

    def update(self, data: bytes) -> None:
        try:
            while data:
                self._decompressor.decompress(data, PART)
                data = self._decompressor.unconsumed_tail
        except zlib.error:
            raise WrongKey from None
        if self._decompressor.unused_data:
            raise WrongKey

    def finalize(self) -> None:
        if not self._decompressor.eof:
            raise WrongKey


def _filled(read: Read, size: int) -> bytes:
    """So many bytes; fewer only at the end."""
    data = read(size)
    while data and len(data) < size and (more := read(size - len(data))):
        data += more
    return data
