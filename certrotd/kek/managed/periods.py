"""How often services rotate keys by themselves: what they take, and as they write it."""

from __future__ import annotations

import re
from datetime import timedelta

from certrotd.config.managed_keys import SERVICE_DAYS
from certrotd.errors import InvalidInput

_DAY = timedelta(days=1)
_ISO = re.compile(
    r"P(?:([0-9]{1,4})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?", re.ASCII
)


def checked(period: timedelta, place: str, service: str) -> int:
    """``period`` in days; raises InvalidInput if the type of service does not take it."""
    least, most = SERVICE_DAYS[service]
    days, rest = divmod(period, _DAY)
    if rest or not least <= days <= most:
        raise InvalidInput(
            f"{place} cannot be rotated every {period / _DAY:g} days",
            hint=f"take {least} to {most} whole days",
        )
    return days


def parse_iso(text: str) -> timedelta:
    """A duration of ISO 8601 in years, months, weeks and days: 365, 30, 7 and 1 days of it.

    Raises ValueError for any other.
    """
    match = _ISO.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError("no duration in days")
    years, months, weeks, days = (int(each or 0) for each in match.groups())
    return timedelta(days=365 * years + 30 * months + 7 * weeks + days)
