"""What can hold back the rotation of a managed thing, whichever kind it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Gate(StrEnum):
    """What can hold a rotation back."""

    DIRECTORIES = "directories"
    DISK = "disk"
    JOURNALS = "journals"
    TROUBLE = "trouble"
    LOCK = "lock"
    PARKED = "parked"
    BACKOFF = "backoff"
    RETRY_AFTER = "retry_after"
    HOLD = "hold"
    WINDOW = "window"
    CLOCK = "clock"
    BUDGET = "budget"
    SLOT = "slot"


@dataclass(frozen=True, slots=True)
class Held:
    """``by`` a gate, because of ``why``; ``until`` then, None if that is not known."""

    by: Gate
    why: str
    until: datetime | None = None
