"""How long to leave a certificate alone after what cannot be told from its history."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.certs.decision import backoff
from certrotd.certs.rotate import Report
from certrotd.daemon.gates import Gate, Held
from certrotd.errors import LockHeld
from certrotd.lifecycle.id import Id
from certrotd.rotation.outcome import Finished, Parked, Stuck

SOON = timedelta(minutes=1)
Key = Id | None
"""Who rests; None is the probing of a doubted clock."""


@dataclass(slots=True)
class _Rest:
    """What is remembered of one of them; ``until`` is monotonic.

    ``troubles`` are counted from the last reload, and None if there were none before it either.
    """

    troubles: int | None = None
    until: float | None = None
    why: str = ""
    by: Gate = Gate.TROUBLE
    parked: Held | None = None
    done: str = ""
    hurried: str = ""


class Rests:
    """What this process remembers of each thing: troubles in a row, and until when it rests.

    Kept by monotonic time, which does not jump. Losing it with the process costs one attempt.
    """

    def __init__(self) -> None:
        self._rests: dict[Key, _Rest] = {}

    def held(self, key: Key, now: datetime, monotonic: float) -> Held | None:
        """Why ``key`` rests, and until when; None if it does not."""
        rest = self._rests.get(key)
        if rest is None:
            return None
        if rest.until is not None:
            if monotonic < rest.until:
                return Held(rest.by, rest.why, now + timedelta(seconds=rest.until - monotonic))
            rest.until = None
        if rest.parked is not None and rest.parked.until is not None and now < rest.parked.until:
            return rest.parked
        rest.parked = None
        return None

    def over(self, key: Key, monotonic: float) -> bool:
        """Whether ``key`` may go on."""
        rest = self._rests.get(key)
        return rest is None or rest.until is None or monotonic >= rest.until

    def troubles(self, key: Key) -> int:
        """How many there were in a row."""
        rest = self._rests.get(key)
        return (rest.troubles or 0) if rest else 0

    def trouble(self, key: Key, why: str, now: datetime, monotonic: float) -> datetime:
        """Count a trouble; the moment until which ``key`` now rests: 1, 10, 100 minutes."""
        rest = self._of(key)
        rest.troubles = (rest.troubles or 0) + 1
        length = backoff(rest.troubles, None)
        rest.until, rest.why, rest.by = monotonic + length.total_seconds(), why, Gate.TROUBLE
        return now + length

    def busy(self, key: Key, failure: LockHeld, monotonic: float) -> None:
        """Somebody else is at it, and will probably do what is due."""
        rest = self._of(key)
        rest.until, rest.why, rest.by = monotonic + SOON.total_seconds(), str(failure), Gate.LOCK

    def came_to(self, report: Report, kind: str, now: datetime, monotonic: float) -> None:
        """A rotation of that ``kind`` has ended, or come to a rest."""
        key, outcome = report.subject, report.outcome or report.recovered
        if isinstance(report.failure, LockHeld):
            self.busy(key, report.failure, monotonic)
        elif isinstance(outcome, Parked) and not outcome.failed and report.failure is None:
            self.calm(key)
            until = max(outcome.until, now + timedelta(seconds=1))
            self._of(key).parked = Held(Gate.PARKED, outcome.why, until)
        elif report.failure is not None or isinstance(outcome, Parked | Stuck):
            self.trouble(key, _why(report), now, monotonic)
        elif isinstance(outcome, Finished):
            rest = self._of(key)
            rest.until, rest.done = None, kind  # the same at once again: that is asked for, once

    def calm(self, key: Key) -> bool:
        """Nothing is the matter with ``key``; whether something was."""
        rest = self._rests.pop(key, None)
        if rest is not None and rest.parked is not None:
            self._rests[key] = _Rest(parked=rest.parked, hurried=rest.hurried)
        return rest is not None and rest.troubles is not None

    def hurry(self, key: Key, why: str) -> bool:
        """Whether what is parked is to go on at once for a reason that it did not go on for yet."""
        rest = self._of(key)
        hurried, rest.hurried = rest.hurried, why
        return hurried != why

    def again(self, key: Key, kind: str) -> bool:
        """Whether ``kind`` was done just now."""
        rest = self._rests.get(key)
        if rest is None:
            return False
        done, rest.done = rest.done, ""
        return done == kind

    def wake(self, key: Key) -> None:
        """Let ``key`` go on; that it had trouble is still remembered."""
        if rest := self._rests.get(key):
            self._rests[key] = _Rest(troubles=rest.troubles)

    def forget(self, there: Container[Id]) -> list[Id]:
        """Let everything go on; those that had trouble and are not ``there``, which are let go of.

        Of the others it is still to be said when their trouble is over. What was learnt of the
        clock stays.
        """
        had = [n for n, rest in self._rests.items() if n is not None and rest.troubles is not None]
        clock = self._rests.get(None)
        self._rests = {n: _Rest(troubles=0) for n in had if n in there}
        if clock is not None:
            self._rests[None] = clock
        return [n for n in had if n not in there]

    def _of(self, key: Key) -> _Rest:
        return self._rests.setdefault(key, _Rest())


def _why(report: Report) -> str:
    """Why a rotation could not go on, or could not begin."""
    if report.failure is not None:
        return str(report.failure)
    match report.outcome or report.recovered:
        case Parked(_, why, _):
            return why
        case Stuck(step, _, undo_failed):
            return f"undoing {step} failed: {undo_failed}"
        case _:
            return ""
