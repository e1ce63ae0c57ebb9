"""Numbers in sentences."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """``1 certificate``, ``1,500 certificates``: ``noun`` is one that takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
