"""What is said of anything a step raises, whether it should have or not."""

from __future__ import annotations

import traceback

from certrotd.errors import Failure, one_line
from certrotd.rotation.files import DiskTrouble


def as_failure(error: Exception, doing: str) -> Failure:
    """A Failure as it is, an OSError with what was being done, and a defect with its place."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        return DiskTrouble(doing, error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = one_line(f"{type(error).__name__}: {error}")
    return Failure(
        f"unexpected {text} at {where.filename}:{where.lineno}",
        hint="this is a defect of certrotd; please report it",
    )
