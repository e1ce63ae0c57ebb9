"""Domain names as strings: lower case, no trailing dot, nothing a path or a shell would notice."""

from __future__ import annotations

import re
from collections.abc import Iterator

from certrotd.dns.words import shown
from certrotd.errors import InvalidInput

MAX_NAME = 253
"""Characters of a name in text form (RFC 1035 §2.3.4: 255 octets on the wire)."""

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")


def fqdn(text: str) -> str:
    """``text`` in lower case without its trailing dot.

    Raises InvalidInput unless every label is 1 to 63 characters of ``[a-z0-9_-]`` and the whole
    at most 253: what a challenge can be published under, and no more than that.
    """
    # Checked before lower(): U+212A (the Kelvin sign) would turn into an innocent "k".
    if not text.isascii():
        raise InvalidInput(
            f"name {shown(text)} is not ASCII", hint="write international names as xn-- labels"
        )
    name = text.lower().removesuffix(".")
    check(name)
    return name


def check(name: str) -> None:
    """Raise InvalidInput unless ``name`` is already what :func:`fqdn` returns."""
    if len(name) > MAX_NAME:
        raise InvalidInput(f"name {shown(name)} is longer than {MAX_NAME} characters")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise InvalidInput(
                f"name {shown(name)} has a label {shown(label)}",
                hint="labels are 1 to 63 characters of a-z, 0-9, '_' and '-'",
            )


def within(name: str, zone: str) -> bool:
    """Whether ``name`` is ``zone`` or below it, label by label."""
    return name == zone or name.endswith("." + zone)


def upward(name: str) -> Iterator[str]:
    """``name``, then each of its parents down to the last label."""
    while name:
        yield name
        name = name.partition(".")[2]


def longest_zone(name: str, zones: tuple[str, ...]) -> str | None:
    """The most specific of ``zones`` that holds ``name``, or None."""
    return max((z for z in zones if within(name, z)), key=len, default=None)
