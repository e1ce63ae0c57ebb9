"""Numbers and times in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from certrotd.id import Id


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 certificate``, ``1,500 certificates``; ``plural`` where ``noun`` takes no s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def tally(subjects: Iterable[Id]) -> str:
    """``2 certificates and 1 token``: how many there are of each kind."""
    kinds = Counter(each.kind for each in subjects)
    counted = (count(number, kind) for kind, number in sorted(kinds.items()))
    return " and ".join(counted) or "0 subjects"


def stamp(at: datetime) -> str:
    """``2026-11-29 21:20Z``: to the minute, in UTC."""
    # not by a format, which takes three times as long: a listing shows 20,000
    return f"{at.astimezone(UTC).isoformat(' ', 'minutes')[:16]}Z"


def span(length: timedelta) -> str:
    """``8 s``, ``12 min``, ``2 h 5 min``, ``3 d 4 h``: as exact as somebody who waits needs it."""
    seconds = round(length.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    for size, unit, above, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= size:
            rest = seconds % size // above
            return (
                f"{seconds // size} {unit} {rest} {smaller}"
                if rest
                else f"{seconds // size} {unit}"
            )
    return f"{seconds // 60} min"
