"""How long to leave a certificate alone after what cannot be told from its history."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.certs.decision import backoff
from certrotd.certs.rotate import Report
from certrotd.daemon.gates import Gate, Held
from certrotd.errors import LockHeld
from certrotd.rotation.outcome import Finished, Parked, Stuck

SOON = timedelta(minutes=1)


@dataclass(slots=True)
class _Rest:
    """What is remembered of one name; ``until`` is monotonic.

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
    """What this process remembers of each name: troubles in a row, and until when it rests.

    Kept by monotonic time, which does not jump. Losing it with the process costs one attempt.
    """

    def __init__(self) -> None:
        self._rests: dict[str, _Rest] = {}

    def held(self, name: str, now: datetime, monotonic: float) -> Held | None:
        """Why ``name`` rests, and until when; None if it does not."""
        rest = self._rests.get(name)
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

    def over(self, name: str, monotonic: float) -> bool:
        """Whether ``name`` may go on."""
        rest = self._rests.get(name)
        return rest is None or rest.until is None or monotonic >= rest.until

    def troubles(self, name: str) -> int:
        """How many there were in a row."""
        rest = self._rests.get(name)
        return (rest.troubles or 0) if rest else 0

    def trouble(self, name: str, why: str, now: datetime, monotonic: float) -> datetime:
        """Count a trouble; the moment until which ``name`` now rests: 1, 10, 100 minutes."""
        rest = self._of(name)
        rest.troubles = (rest.troubles or 0) + 1
        length = backoff(rest.troubles, None)
        rest.until, rest.why, rest.by = monotonic + length.total_seconds(), why, Gate.TROUBLE
        return now + length

    def busy(self, name: str, failure: LockHeld, monotonic: float) -> None:
        """Somebody else is at it, and will probably do what is due."""
        rest = self._of(name)
        rest.until, rest.why, rest.by = monotonic + SOON.total_seconds(), str(failure), Gate.LOCK

    def came_to(self, report: Report, kind: str, now: datetime, monotonic: float) -> None:
        """A rotation of that ``kind`` has ended, or come to a rest."""
        name, outcome = report.name, report.outcome or report.recovered
        if isinstance(report.failure, LockHeld):
            self.busy(name, report.failure, monotonic)
        elif isinstance(outcome, Parked) and not outcome.failed and report.failure is None:
            self.calm(name)
            until = max(outcome.until, now + timedelta(seconds=1))
            self._of(name).parked = Held(Gate.PARKED, outcome.why, until)
        elif report.failure is not None or isinstance(outcome, Parked | Stuck):
            self.trouble(name, _why(report), now, monotonic)
        elif isinstance(outcome, Finished):
            rest = self._of(name)
            rest.until, rest.done = None, kind  # the same at once again: that is asked for, once

    def calm(self, name: str) -> bool:
        """Nothing is the matter with ``name``; whether something was."""
        rest = self._rests.pop(name, None)
        if rest is not None and rest.parked is not None:
            self._rests[name] = _Rest(parked=rest.parked, hurried=rest.hurried)
        return rest is not None and rest.troubles is not None

    def hurry(self, name: str, why: str) -> bool:
        """Whether what is parked is to go on at once for a reason that it did not go on for yet."""
        rest = self._of(name)
        hurried, rest.hurried = rest.hurried, why
        return hurried != why

    def again(self, name: str, kind: str) -> bool:
        """Whether ``kind`` was done just now."""
        rest = self._rests.get(name)
        if rest is None:
            return False
        done, rest.done = rest.done, ""
        return done == kind

    def wake(self, name: str) -> None:
        """Let ``name`` go on; that it had trouble is still remembered."""
        if rest := self._rests.get(name):
            self._rests[name] = _Rest(troubles=rest.troubles)

    def forget(self, there: Container[str]) -> list[str]:
        """Let every name go on; those that had trouble and are not ``there``, which are let go of.

        Of the others it is still to be said when their trouble is over. What was learnt of the
        clock, as "", stays.
        """
        had = [n for n, rest in self._rests.items() if n and rest.troubles is not None]
        clock = self._rests.get("")
        self._rests = {n: _Rest(troubles=0) for n in had if n in there}
        if clock is not None:
            self._rests[""] = clock
        return [n for n in had if n not in there]

    def _of(self, name: str) -> _Rest:
        return self._rests.setdefault(name, _Rest())


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
