"""The failure for anything a step raises, whether it should have or not."""

from __future__ import annotations

import traceback
from datetime import timedelta

from certrotd.errors import Failure, Transient, one_line
from certrotd.files.disktrouble import DiskTrouble

LONGEST_WAIT = timedelta(days=366)


def as_failure(error: Exception, doing: str) -> Failure:
    """A Failure as it is, an OSError with what was being done, and a defect with its place."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        return DiskTrouble(doing, error)
    text = one_line(f"{type(error).__name__}: {error}")
    trace = traceback.extract_tb(error.__traceback__)
    where = f" at {trace[-1].filename}:{trace[-1].lineno}" if trace else ""
    return Failure(
        f"unexpected {text}{where}",
        hint="this is a defect of certrotd; please report it",
    )


def wait_asked_for(failure: Failure) -> timedelta | None:
    """The wait a failure asks for, neither negative nor so long that no date is left for it."""
    if not isinstance(failure, Transient) or failure.retry_after is None:
        return None
    return min(max(failure.retry_after, timedelta(0)), LONGEST_WAIT)
