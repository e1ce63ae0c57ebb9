"""Deflate within ciphertext, in zlib's and gzip's frames, with a bound on what comes out."""

from __future__ import annotations

import gzip
import zlib

from certrotd.codecs.errors import WrongKey
from certrotd.codecs.port import MAX_BYTES, too_large

EITHER_FRAME = 32 + zlib.MAX_WBITS
"""Of zlib: it reads zlib's and gzip's."""


def inflate(data: bytes) -> bytes:
    """What ``data`` is the one compressed stream of.

    Raises TooLarge above MAX_BYTES, however little ``data`` is, and WrongKey for noise: that is
    what a wrong key leaves.
    """
    decompressor = zlib.decompressobj(EITHER_FRAME)
    try:
        found = decompressor.decompress(data, MAX_BYTES + 1)
    except zlib.error:
        raise WrongKey from None
    if len(found) > MAX_BYTES:
        raise too_large(len(found))
    if not decompressor.eof or decompressor.unused_data:
        raise WrongKey
    return found


def deflate(data: bytes, *, as_gzip: bool) -> bytes:
    """``data`` compressed, in gzip's frame without a time, or in zlib's."""
    return gzip.compress(data, mtime=0) if as_gzip else zlib.compress(data)
