"""The header of symmetric-encryption (a Ruby gem), before it is encoded.

``"@EnC" | version | flags | [iv] | [encrypted key] | [cipher name] | [chunk exponent] | [tag]``:
version, flags and exponent are one byte each; iv, key, name and tag have their length before them
as 16 bits, little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass

from certrotd.codecs.aead import GCM, TAG
from certrotd.codecs.errors import Damaged, Unsupported
from certrotd.keyring.material import Algorithm

MAGIC = b"@EnC"
COMPRESSED, HAS_IV, HAS_KEY, HAS_CIPHER, HAS_TAG, CHUNKED = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04
CBC = frozenset({Algorithm.AES_128_CBC, Algorithm.AES_192_CBC, Algorithm.AES_256_CBC})
_RESERVED = 0x03
_EXPONENTS = range(10, 25)
_MOST_KEY = 256


@dataclass(frozen=True)
class Header:
    """A header that was read; what is not in it is empty, 0 or None.

    ``chunk`` is the number of plaintext bytes in a chunk. ``authenticated`` is what GCM binds: the
    bytes before the tag, or the whole header of a chunked stream. ``body`` is what follows it.
    """

    version: int
    compressed: bool
    iv: bytes
    key: bytes
    cipher: Algorithm | None
    chunk: int
    tag: bytes
    authenticated: bytes
    body: bytes


class _Reader:
    """Fields one after the other; raises Damaged where they end too early."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, length: int) -> bytes:
        found = self.data[self.at : self.at + length]
        if len(found) < length:
            raise Damaged("the ciphertext ends within its header")
        self.at += length
        return found

    def field(self) -> bytes:
        return self.take(int.from_bytes(self.take(2), "little"))


def has_header(data: bytes) -> bool:
    """Whether ``data`` begins like one with a header."""
    return data.startswith(MAGIC)


def read_header(data: bytes) -> Header:
    """The header of ``data``; raises Damaged and Unsupported."""
    if not has_header(data):
        raise Damaged("the ciphertext has no header of symmetric-encryption")
    reader = _Reader(data, len(MAGIC))
    version, flags = reader.take(2)
    if flags & _RESERVED or (flags & CHUNKED and flags & HAS_TAG):
        raise Unsupported("the ciphertext's header has flags that no known version writes")
    iv = reader.field() if flags & HAS_IV else b""
    key = reader.field() if flags & HAS_KEY else b""
    cipher = _cipher(reader.field()) if flags & HAS_CIPHER else None
    chunk = _chunk(reader.take(1)[0]) if flags & CHUNKED else 0
    before_tag = reader.at
    tag = reader.field() if flags & HAS_TAG else b""
    _check(flags, iv, key, tag)
    authenticated = data[: before_tag if flags & HAS_TAG else reader.at]
    compressed = bool(flags & COMPRESSED)
    body = data[reader.at :]
    if not body:
        raise Damaged("the ciphertext ends after its header")
    return Header(version, compressed, iv, key, cipher, chunk, tag, authenticated, body)


def write_header(
    version: int, *, compressed: bool, iv: bytes = b"", key: bytes = b"", chunk: int = 0, tag: bool
) -> bytes:
    """A header up to its tag, which ``tag`` says will follow by ``with_tag``."""
    flags = (
        COMPRESSED * compressed
        | HAS_IV * bool(iv)
        | HAS_KEY * bool(key)
        | HAS_TAG * tag
        | CHUNKED * bool(chunk)
    )
    fields = b"".join(len(f).to_bytes(2, "little") + f for f in (iv, key) if f)
    exponent = bytes([chunk.bit_length() - 1]) if chunk else b""
    return MAGIC + bytes([version, flags]) + fields + exponent


def with_tag(header: bytes, sealed: bytes) -> bytes:
    """``header`` with the tag at the end of ``sealed``, then the rest of ``sealed``."""
    return header + TAG.to_bytes(2, "little") + sealed[-TAG:] + sealed[:-TAG]


def _check(flags: int, iv: bytes, key: bytes, tag: bytes) -> None:
    lengths = (7,) if flags & CHUNKED else (12,) if flags & HAS_TAG else (0, 16)
    if len(iv) not in lengths or (flags & HAS_IV and not iv):
        raise Damaged("the ciphertext's initialization vector is of a length that none has")
    whole = has_header(key) or len(key) % 16 == 0
    if (flags & HAS_KEY and not key) or len(key) > _MOST_KEY or not whole:
        raise Damaged("the ciphertext's encrypted key is of a length that none has")
    if flags & HAS_TAG and len(tag) != TAG:
        raise Damaged("the ciphertext's tag has not 16 bytes")


def _cipher(name: bytes) -> Algorithm:
    for algorithm in CBC | GCM:
        if name.lower() == algorithm.encode("ascii"):
            return algorithm
    raise Unsupported("the ciphertext's header names an unknown cipher")


def _chunk(exponent: int) -> int:
    if exponent not in _EXPONENTS:
        raise Damaged("the ciphertext's chunk size is not from 1 KiB to 16 MiB")
    return 1 << exponent
