"""CRC32C (Castagnoli, RFC 3720 appendix B.4), with which Google Cloud KMS checks data."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78


def _entry(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (_POLYNOMIAL if index & 1 else 0)
    return index


_TABLE = [_entry(index) for index in range(256)]


def crc32c(data: bytes) -> int:
    """The checksum as an unsigned number of 32 bits."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
