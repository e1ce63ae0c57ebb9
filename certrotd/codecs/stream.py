"""Encrypted files of any size, in constant memory: a header, then the content by its cipher.

Cobblestone-256 (C2SP chunked-encryption) authenticates chunks of 16 KiB, their order and their end,
under the content key of the header (stream_header.py), in the context ``"certrotd file\\0"``, then
the first 32 bytes of a slot. AES-256-GCM in segments (segments.py), for who needs AES, is bound to
the same context. Plaintext comes out chunk by chunk: whoever writes it writes it to a
temporary file, which becomes the file only once all of it has come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag

from certrotd.codecs import segments
from certrotd.codecs.errors import Damaged
from certrotd.codecs.stream_header import Cipher, Header

if TYPE_CHECKING:
    from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

CHUNK = 1024 * 1024
_CHUNKS = 16 * 1024
"""Of Cobblestone: what does not fill one comes out with the next call."""
_ROOM = 2 * CHUNK + _CHUNKS + 16
_SEALED = _ROOM + _ROOM // 1024 + _CHUNKS + 72
"""Segments of AES-GCM are of 1 MiB: two of them may come out of one call."""
_CONTEXT = b"certrotd file\0"
ReadInto = Callable[[memoryview], int]
"""Fills a part of the buffer with what comes next, and says how much; 0 at the end."""
Write = Callable[[memoryview], object]
"""Writes all of it."""


def encrypt(header: Header, read: ReadInto, write: Write) -> None:
    """All that ``read`` gives, as the content behind ``header``."""
    source, sealed = memoryview(bytearray(CHUNK)), memoryview(bytearray(_SEALED))
    encryptor = _encryptor(header)
    while size := read(source):
        write(sealed[: encryptor.update_into(source[:size], sealed)])
    write(memoryview(encryptor.finalize()))


def decrypt(header: Header, read: ReadInto, write: Write) -> None:
    """The plaintext of the content behind ``header``; raises Damaged, after a part was written."""
    source, opened = memoryview(bytearray(CHUNK)), memoryview(bytearray(_ROOM))
    decryptor = _decryptor(header)
    try:
        while size := read(source):
            write(opened[: decryptor.update_into(source[:size], opened)])
        write(memoryview(decryptor.finalize()))
    except InvalidTag:
        raise _damaged() from None


def reencrypt(old: Header, new: Header, read: ReadInto, write: Write) -> None:
    """The content behind ``old`` as that behind ``new``; raises Damaged as decrypt."""
    sealed = memoryview(bytearray(_SEALED))
    encryptor = _encryptor(new)

    def seal(plaintext: memoryview) -> None:
        write(sealed[: encryptor.update_into(plaintext, sealed)])

    decrypt(old, read, seal)
    write(memoryview(encryptor.finalize()))


def _encryptor(header: Header) -> Cobblestone256Encryptor | segments.Encryptor:
    content, context = header.content.reveal(), _CONTEXT + header.fixed
    if header.cipher is Cipher.AES_256_GCM_HKDF:
        return segments.Encryptor(content, context)
    from cryptography.cobblestone import Cobblestone256Encryptor

    return Cobblestone256Encryptor(content, context)


def _decryptor(header: Header) -> Cobblestone256Decryptor | segments.Decryptor:
    content, context = header.content.reveal(), _CONTEXT + header.fixed
    if header.cipher is Cipher.AES_256_GCM_HKDF:
        return segments.Decryptor(content, context)
    from cryptography.cobblestone import Cobblestone256Decryptor

    return Cobblestone256Decryptor(content, context)


def _damaged() -> Damaged:
    return Damaged("its content does not open: it was altered or cut short")
