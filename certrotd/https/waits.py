"""How long a server asks to be left alone, and the dates of HTTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(days=1)
_NUMBER = r"\s*-?[0-9]{1,300}(?:\.[0-9]{0,300})?\s*"
_SECONDS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*")


def asked_wait(
    retry_after: object, *, now: datetime, longest: timedelta = LONGEST
) -> timedelta | None:
    """The wait a Retry-After header asks for (RFC 9110 §10.2.3), None if absent or unreadable.

    Seconds (fractions too) or a date; the most where there are several. Never negative and never
    more than ``longest``.
    """
    text = retry_after.strip() if isinstance(retry_after, str) else ""
    if _SECONDS.fullmatch(text):
        seconds = max(float(each) for each in text.split(","))
        return timedelta(seconds=min(max(seconds, 0.0), longest.total_seconds()))
    when = http_date(text)
    return None if when is None else min(max(when - now, timedelta(0)), longest)


def http_date(text: str | None) -> datetime | None:
    """The moment an HTTP header names (RFC 9110 §5.6.7); None for anything else."""
    try:
        when = parsedate_to_datetime(text or "")
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # of all that a parser has raised
        return None
