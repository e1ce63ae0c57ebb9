"""Inflating hostile bytes: bounded in memory, whatever they would become."""

import tracemalloc
import zlib

import pytest

from certrotd.codecs.compression import deflate, inflate
from certrotd.codecs.errors import TooLarge
from certrotd.codecs.port import MAX_BYTES


@pytest.mark.parametrize("as_gzip", [True, False])
def test_either_frame_is_read(as_gzip: bool) -> None:
    """Files have gzip's, values zlib's, under the same flag."""
    packed = deflate(b"x" * 1000, as_gzip=as_gzip)
    assert packed.startswith(b"\x1f\x8b") is as_gzip
    assert inflate(packed) == b"x" * 1000


def test_a_bomb_is_not_unpacked_past_the_bound() -> None:
    """A quarter of a megabyte that would be four times as much as is read into memory."""
    compressor = zlib.compressobj(1)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(4 * MAX_BYTES >> 20))
    bomb += compressor.flush()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflate(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * MAX_BYTES
