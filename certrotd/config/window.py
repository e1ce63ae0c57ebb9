"""Maintenance windows as people write them: ``mon-fri 01:00-05:00 Europe/Berlin``."""

import re
from datetime import time
from typing import Annotated
from zoneinfo import ZoneInfoNotFoundError

from pydantic import PlainValidator, WithJsonSchema

from certrotd.config.base import refuse, shown
from certrotd.window import DAYS, Window, zone_of

_DAY = f"(?:{'|'.join(DAYS)})"
_SPAN = rf"{_DAY}(?:-{_DAY})?"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
PATTERN = rf"^(?:({_SPAN}(?:,{_SPAN})*) )?({_TIME})-({_TIME})(?: ([A-Za-z0-9_+/-]{{1,64}}))?$"
_WHOLE = re.compile(PATTERN, re.ASCII)
_RIGHT = (
    'such as "01:00-05:00", "sat,sun 22:00-04:00" or "mon-fri 01:00-05:00 Europe/Berlin" '
    "(without a zone: UTC)"
)


def _window(value: object) -> Window:
    if isinstance(value, Window):
        return value
    match = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refuse(f"must be a maintenance window, {_RIGHT}, got {shown(value)}")
    days, start, end, zone = match.groups()
    zone = zone or "UTC"
    try:
        tz = zone_of(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refuse(
            f"this machine knows no time zone {zone!r} (is tzdata installed?): {_RIGHT}"
        ) from None
    if start == end:
        raise refuse(f"begins and ends at {start}: {_RIGHT}")
    begin, last = time.fromisoformat(start), time.fromisoformat(end)
    return Window(frozenset(_days(days or "mon-sun")), begin, last, tz)


def _days(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return found


MaintenanceWindow = Annotated[
    Window,
    PlainValidator(_window),
    WithJsonSchema(
        {"type": "string", "pattern": PATTERN, "examples": ["mon-fri 01:00-05:00 Europe/Berlin"]}
    ),
]
