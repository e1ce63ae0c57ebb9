"""Base64 and hexadecimal, read in exactly one spelling each, and JSON objects without depth.

A lenient reader takes many spellings for one value: an altered ciphertext would still open.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import NoReturn

from certrotd.codecs.errors import Damaged

_HEX = re.compile(rb"(?:[0-9a-f]{2})*\Z")
_MOST_MEMBERS = 16


def unbase64(text: bytes, *, altchars: bytes | None = None) -> bytes:
    """The bytes of padded base64 without line breaks (RFC 4648 §4, §3.5); raises Damaged."""
    try:
        data = base64.b64decode(text, altchars=altchars, validate=True)
    except (binascii.Error, ValueError):
        raise Damaged("the ciphertext's base64 is damaged") from None
    if base64.b64encode(data, altchars=altchars) != text:
        raise Damaged("the ciphertext's base64 is damaged")
    return data


def unbase64url(text: bytes) -> bytes:
    """The bytes of base64url without padding (RFC 7515 §2); raises Damaged."""
    return unpadded(text, altchars=b"-_")


def unpadded(text: bytes, *, altchars: bytes | None = None) -> bytes:
    """The bytes of base64 without padding; raises Damaged."""
    if b"=" in text:
        raise Damaged("the ciphertext's base64 is padded")
    return unbase64(text + b"=" * (-len(text) % 4), altchars=altchars)


def unhex(text: bytes) -> bytes:
    """The bytes of hexadecimal in lower case; raises Damaged."""
    if not _HEX.match(text):
        raise Damaged("the ciphertext's hexadecimal is damaged")
    return bytes.fromhex(text.decode("ascii"))


def json_object(text: bytes) -> Mapping[str, object]:
    """A JSON object of a few scalars, whose names are unique (RFC 8259 §4); raises Damaged."""
    # Counted before it is parsed: a list of empty objects takes twenty times its text in memory.
    flat = text.count(b"{") == 1 and b"[" not in text and text.count(b",") <= _MOST_MEMBERS
    if not flat or not text.startswith(b"{") or not text.endswith(b"}"):
        raise Damaged("the ciphertext is not a JSON object of a few members")
    try:
        found: dict[str, object] = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except ValueError:
        raise Damaged("the ciphertext is not JSON") from None
    return found


def text_field(values: Mapping[str, object], name: str) -> bytes:
    """The ASCII text at ``name``; raises Damaged."""
    value = values.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise Damaged(f"the ciphertext's JSON has no text {name}")
    return value.encode("ascii")


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError("a name is there twice")
        found[name] = value
    return found


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
