"""Backoff after what the history does not tell: locks, troubles, parked rotations."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.errors import LockHeld
from certrotd.id import Id
from certrotd.lifecycle.attempts import backoff
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.report import Report
from certrotd.rotation.outcome import Finished, Parked, Stuck

SOON = timedelta(minutes=1)


@dataclass(slots=True)
class _Pause:
    """What is remembered of one subject; ``until`` is monotonic.

    ``troubles`` are counted from the last reload, and None if there were none before it either.
    """

    troubles: int | None = None
    until: float | None = None
    why: str = ""
    by: Gate = Gate.TROUBLE
    parked: Held | None = None
    done: str = ""
    hurried: str = ""


class Backoff:
    """What this process remembers of each subject: troubles in a row, and until when it rests.

    Kept by monotonic time, which does not jump. Losing it with the process costs one attempt.
    """

    def __init__(self) -> None:
        self._pauses: dict[Id, _Pause] = {}

    def held(self, subject: Id, now: datetime, monotonic: float) -> Held | None:
        """Why ``subject`` rests, and until when; None if it does not."""
        rest = self._pauses.get(subject)
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

    def troubles(self, subject: Id) -> int:
        """How many there were in a row."""
        rest = self._pauses.get(subject)
        return (rest.troubles or 0) if rest else 0

    def trouble(self, subject: Id, why: str, now: datetime, monotonic: float) -> datetime:
        """Count a trouble; the moment until which ``subject`` now rests: 1, 10, 100 minutes."""
        rest = self._of(subject)
        rest.troubles = (rest.troubles or 0) + 1
        length = backoff(rest.troubles, None)
        rest.until, rest.why, rest.by = monotonic + length.total_seconds(), why, Gate.TROUBLE
        return now + length

    def busy(self, subject: Id, failure: LockHeld, monotonic: float) -> None:
        """Somebody else is at it, and will probably do what is due."""
        rest, length = self._of(subject), min(SOON, failure.free_after or SOON)
        rest.until, rest.why, rest.by = monotonic + length.total_seconds(), str(failure), Gate.LOCK

    def ended(self, report: Report, act: str, now: datetime, monotonic: float) -> None:
        """A rotation that was to ``act`` has ended, or waits."""
        subject, outcome = report.subject, report.last
        if isinstance(report.failure, LockHeld):
            self.busy(subject, report.failure, monotonic)
        elif isinstance(outcome, Parked) and not outcome.failed and report.failure is None:
            self.calm(subject)
            until = max(outcome.until, now + timedelta(seconds=1))
            self._of(subject).parked = Held(Gate.PARKED, outcome.why, until)
        elif report.failure is not None or isinstance(outcome, Parked | Stuck):
            self.trouble(subject, _why(report), now, monotonic)
        elif isinstance(outcome, Finished):
            rest = self._of(subject)
            rest.until, rest.done = None, act  # the same at once again: that is asked for, once

    def calm(self, subject: Id) -> bool:
        """Any trouble with ``subject`` is over; whether there was one."""
        rest = self._pauses.pop(subject, None)
        if rest is not None and rest.parked is not None:
            self._pauses[subject] = _Pause(parked=rest.parked, hurried=rest.hurried)
        return rest is not None and rest.troubles is not None

    def hurry(self, subject: Id, why: str) -> bool:
        """Whether what is parked is to go on at once for a reason that it did not go on for yet."""
        rest = self._of(subject)
        hurried, rest.hurried = rest.hurried, why
        return hurried != why

    def again(self, subject: Id, act: str) -> bool:
        """Whether that was done just now."""
        rest = self._pauses.get(subject)
        if rest is None:
            return False
        done, rest.done = rest.done, ""
        return done == act

    def wake(self, subject: Id) -> None:
        """Let ``subject`` go on; that it had trouble is still remembered."""
        if rest := self._pauses.get(subject):
            self._pauses[subject] = _Pause(troubles=rest.troubles)

    def forget(self, there: Container[Id]) -> list[Id]:
        """Let everything go on; those that had trouble and are not ``there``, which are forgotten.

        The others are remembered, so that the end of their trouble is reported.
        """
        had = [n for n, rest in self._pauses.items() if rest.troubles is not None]
        self._pauses = {n: _Pause(troubles=0) for n in had if n in there}
        return [n for n in had if n not in there]

    def _of(self, subject: Id) -> _Pause:
        return self._pauses.setdefault(subject, _Pause())


def _why(report: Report) -> str:
    """Why a rotation could not go on, or could not begin."""
    if report.failure is not None:
        return str(report.failure)
    match report.last:
        case Parked(_, why, _):
            return why
        case Stuck(step, _, undo_failed):
            return f"the undo of {step} failed: {undo_failed}"
        case _:
            return ""
