"""How long to leave a certificate alone after what cannot be told from its history."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime, timedelta
from typing import Any

from certrotd.certs.decision import backoff


class Rests:
    """What this process remembers of each name: troubles in a row, and until when it rests.

    Kept by monotonic time, which does not jump. Losing it with the process costs one attempt.
    """

    def __init__(self) -> None:
        self._troubles: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._parked: dict[str, datetime] = {}
        self._done: dict[str, str] = {}

    def wait(self, name: str, now: datetime, monotonic: float) -> datetime | None:
        """Until when ``name`` rests; None if it does not."""
        until = self._until.get(name)
        if until is not None and monotonic < until:
            return now + timedelta(seconds=until - monotonic)
        self._until.pop(name, None)
        parked = self._parked.get(name)
        if parked is not None and now < parked:
            return parked
        self._parked.pop(name, None)
        return None

    def over(self, name: str, monotonic: float) -> bool:
        """Whether ``name`` may go on."""
        return monotonic >= self._until.get(name, monotonic)

    def trouble(self, name: str, now: datetime, monotonic: float) -> datetime:
        """Count a trouble; the moment until which ``name`` now rests: 1, 10, 100 minutes."""
        self._troubles[name] = self._troubles.get(name, 0) + 1
        rest = backoff(self._troubles[name], None)
        self._until[name] = monotonic + rest.total_seconds()
        return now + rest

    def calm(self, name: str) -> bool:
        """Nothing is the matter with ``name``; whether something was."""
        self._until.pop(name, None)
        self._done.pop(name, None)
        return self._troubles.pop(name, None) is not None

    def park(self, name: str, until: datetime) -> None:
        """A rotation of ``name`` waits as planned, by the wall clock."""
        self._parked[name] = until

    def done(self, name: str, kind: str) -> None:
        """What was due is done; if the same is due at once again, ``again`` says so, once."""
        self._until.pop(name, None)
        self._done[name] = kind

    def again(self, name: str, kind: str) -> bool:
        """Whether ``kind`` was done just now."""
        return self._done.pop(name, None) == kind

    def forget(self, there: Container[str]) -> list[str]:
        """Let every name go on; those that had trouble and are not ``there``, which are let go of.

        Of the others it is still to be said when their trouble is over. What was learnt of the
        clock, as "", stays.
        """
        gone = [name for name in self._troubles if name and name not in there]
        for name in gone:
            del self._troubles[name]
        self._troubles.update({name: 0 for name in self._troubles if name})
        kept: tuple[dict[str, Any], ...] = (self._until, self._parked, self._done)
        for each in kept:
            for name in [name for name in each if name]:
                del each[name]
        return gone
