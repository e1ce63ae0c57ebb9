"""How many attempts there will be before a certificate expires, if all of them fail."""

from __future__ import annotations

from datetime import datetime, timedelta

from certrotd.certs.decision import backoff

MOST = 1000


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
