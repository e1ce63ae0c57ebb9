"""How long to wait after failures, and how many attempts that leaves before an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrotd.lifecycle.decision import CONFIGURATION
from certrotd.wording import count

BACKOFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
MOST = 1000


@dataclass(frozen=True, slots=True)
class Attempts:
    """What the history says: ``failures`` in a row, the last ``at`` that time because of ``why``.

    ``mended``: the configuration is another one since.
    """

    failures: int = 0
    at: datetime | None = None
    why: str = ""
    retry_after: timedelta | None = None
    mended: bool = False


def attempts_of(last: Mapping[str, Any] | None, configuration: str) -> Attempts:
    """What the newest line of a history says; ``configuration`` is the digest of the present one.

    What somebody cancelled has not failed.
    """
    from certrotd.rotation.outcome import CANCELLED  # loads the engine's values

    if last is None or not last["failures"] or last["failure"] == CANCELLED:
        return Attempts()
    seconds, known = last["retry_after"], last["facts"].get(CONFIGURATION)
    return Attempts(
        failures=int(last["failures"]),
        at=datetime.fromisoformat(last["ended"]),
        why=str(last["failure"]),
        retry_after=timedelta(seconds=seconds) if seconds else None,
        mended=known is not None and known != configuration,
    )


def backoff(failures: int, left: timedelta | None) -> timedelta:
    """How long to wait after one or more failures in a row: 1, 10, 100 minutes, then a day.

    Compressed when only ``left`` of the lifetime remains, so that several attempts fit before
    the end.
    """
    delay = BACKOFF[min(failures, len(BACKOFF)) - 1]
    if left is None:
        return min(delay, BACKOFF[2])
    return max(BACKOFF[0], min(delay, left / 10))


def after_failures(failures: int, why: str) -> str:
    """How often it has failed in a row, and the last reason."""
    return f"after {count(failures, 'failure')}, the last: {why}"


def attempts_left(
    failures: int, at: datetime | None, *, due: datetime, not_after: datetime, now: datetime
) -> int:
    """How often a renewal will be tried before ``not_after``, by the backoff; at most 1,000.

    ``failures`` in a row so far, the last one at ``at``; the first attempt comes at ``due``. A
    Retry-After or a budget may leave fewer.
    """
    moment = max(now, due)
    if failures and at is not None and at <= now:
        moment = max(moment, at + backoff(failures, _left(at, not_after)))
    count = 0
    while moment < not_after and count < MOST:
        count += 1
        failures += 1
        moment += backoff(failures, _left(moment, not_after))
    return count


def _left(now: datetime, not_after: datetime) -> timedelta | None:
    return not_after - now if not_after > now else None
