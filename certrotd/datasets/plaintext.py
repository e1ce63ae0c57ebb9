"""What of stored values is plaintext, and no ciphertext that was damaged."""

from __future__ import annotations

MARK = 4
"""By so many of its first bytes a value that was meant to be ciphertext is known, at most."""


def mark_of(beginning: bytes) -> bytes:
    """By what ciphertext is known that should have that ``beginning``, empty if by nothing."""
    return beginning[:MARK]


def is_plaintext(value: bytes, mark: bytes) -> bool:
    """Whether it is text, and was not meant to be ciphertext: what is damaged is neither.

    Without a ``mark`` of ciphertext, nothing is known to be plaintext.
    """
    if not mark or value.startswith(mark):
        return False
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return all(each.isprintable() or each in "\n\r\t" for each in text)
