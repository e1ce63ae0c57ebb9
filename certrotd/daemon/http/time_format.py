"""Moments and spans as people say them."""

from __future__ import annotations

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_BRIEF = {"day": "d", "hour": "h", "minute": "min", "second": "s"}


def span(seconds: float) -> str:
    """A length of time in its largest fitting unit, rounded down: 61 days, 5 hours, 1 minute."""
    whole = int(abs(seconds))
    size, unit = next(each for each in _UNITS if whole >= 2 * each[0] or each[0] == 1)
    count = whole // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def brief(seconds: float) -> str:
    """The same in as few letters: 61 d, 5 h, 1 min."""
    count, unit = span(seconds).split()
    return f"{count} {_BRIEF[unit.removesuffix('s')]}"


def relative(seconds: float) -> str:
    """How far from now: in 61 days, 5 hours ago, now."""
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"
