"""What is due of one subject, and when to look at it again; pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrotd.id import Id

DAILY, HOURLY = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Due:
    """Something to be done: ``act`` as Action.act, ``claim`` as Found.claim.

    ``claims``: it is one that has a claim wherever there is a budget to take it of.
    """

    why: str
    act: str
    claim: Any = None
    claims: bool = False


ASK = Due("it is asked whether it is due", "ask")
"""Nobody hears of it, unless something came of it."""
RESUME = Due("an earlier rotation is in flight", "resume")


def look_by(subject: Id, until: datetime | None, now: datetime) -> datetime:
    """At ``until``, but within a day: somebody may have touched the files. In an hour if None.

    The day is between a half and a whole one by the subject, so that not all come at the same time.
    """
    share = 0.5 + zlib.crc32(str(subject).encode()) / 2**33
    return min(max(until or now + HOURLY, now + timedelta(seconds=1)), now + DAILY * share)
