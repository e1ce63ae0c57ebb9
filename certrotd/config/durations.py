"""Spans of time as people write them: ``90d``, ``12h 30m``, ``45s``, ``1w``."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from certrotd.config.base import refuse, shown
from certrotd.errors import InvalidInput

LONGEST = timedelta(days=36500)
PATTERN = r"^\s*(?=[0-9])" + "".join(rf"([0-9]{{1,9}}{unit}\s*)?" for unit in "wdhms") + "$"

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_WHOLE = re.compile(PATTERN, re.ASCII)
_ANY_LENGTH = re.compile(PATTERN.replace("{1,9}", "+"), re.ASCII)
_PART = re.compile(r"([0-9]+)([wdhms])", re.ASCII)
_RIGHT = "write weeks, days, hours, minutes and seconds in this order, such as 90d, 12h 30m or 45s"


def parse(text: str) -> timedelta:
    """The span ``text`` says; raises InvalidInput with what would be right.

    Units are w, d, h, m and s, each at most once, the larger before the smaller, in whole
    numbers; nothing beyond a hundred years.
    """
    if text.strip().isdigit():
        raise InvalidInput(f"{shown(text)} has no unit", hint=f"such as {text.strip()[:9]}s")
    if not _WHOLE.fullmatch(text):
        if _ANY_LENGTH.fullmatch(text):
            raise _too_long(text)
        raise InvalidInput(f"{shown(text)} is not a duration", hint=_RIGHT)
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    if seconds > LONGEST.total_seconds():
        raise _too_long(text)
    return timedelta(seconds=seconds)


def _too_long(text: str) -> InvalidInput:
    return InvalidInput(f"{shown(text)} is longer than a hundred years", hint="36500d at most")


def render(span: timedelta) -> str:
    """``span`` in the form :func:`parse` reads, to the whole second: ``1h 30m``."""
    left = int(span.total_seconds())
    parts = []
    for unit, size in _SECONDS.items():
        # A week is only written where nothing remains: "10d" says more than "1w 3d".
        if left >= size and not (unit == "w" and left % size):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts) or "0s"


def _read_or_zero(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        example = f"{shown(value)}s" if number else "90d"
        raise refuse(f"must be a duration with its unit, such as {example}, got {shown(value)}")
    try:
        return parse(value)
    except InvalidInput as error:
        raise refuse(str(error)) from None


def _read(value: object) -> object:
    span = _read_or_zero(value)
    if isinstance(span, timedelta) and span <= timedelta(0):
        raise refuse(f"must be longer than zero, such as 30s, got {shown(value)}")
    return span


_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": PATTERN, "examples": ["90d", "12h 30m", "45s"]}
)

Duration = Annotated[timedelta, BeforeValidator(_read), _SCHEMA]
"""A span longer than nothing."""

DurationOrZero = Annotated[timedelta, BeforeValidator(_read_or_zero), _SCHEMA]
