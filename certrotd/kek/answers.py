"""What the answers of key services have in common: Base64, and what is no answer."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import TypeVar

from certrotd.kek.port import KekUnavailable

T = TypeVar("T")


def read(place: str, take: Callable[[], T]) -> T:
    """What ``take`` finds in an answer; KekUnavailable if that is not what the service answers.

    A proxy that answers in its place is the usual reason, so it may pass.
    """
    try:
        return take()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise KekUnavailable(
            f"{place} gave an answer that cannot be read",
            hint="check the address, and whether a proxy answers in its place",
        ) from None


def decoded(text: object, *, url_safe: bool = False) -> bytes:
    """Base64, with or without its padding; raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("no text")
    padded = text + "=" * (-len(text) % 4)
    try:
        return b64decode(padded, altchars=b"-_" if url_safe else None, validate=True)
    except binascii.Error:
        raise ValueError("not Base64") from None


def encoded(data: bytes, *, url_safe: bool = False) -> str:
    """Base64: of URLs without padding (RFC 4648 §5), else with it."""
    text = b64encode(data, altchars=b"-_" if url_safe else None).decode()
    return text.rstrip("=") if url_safe else text
