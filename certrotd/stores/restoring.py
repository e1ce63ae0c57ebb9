"""How often a Secret that somebody else breaks is put right: a pure rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

MOST = 3
WITHIN = timedelta(hours=1)


def again_at(restored: Sequence[datetime], *, now: datetime) -> datetime | None:
    """When it may be put right again after it was at these times; None: now.

    At most MOST times WITHIN any span: whoever breaks it that often does not stop for certrotd,
    and each time every workload would be restarted. Times to come are of a clock that was ahead.
    """
    recent = counted(restored, now=now)
    return None if len(recent) < MOST else recent[-MOST] + WITHIN


def counted(restored: Sequence[datetime], *, now: datetime) -> list[datetime]:
    """Those of the times that count still, in their order."""
    return sorted(each for each in restored if now - WITHIN < each <= now)
