"""The result of the rotation of one subject, with one verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from certrotd.errors import Failure, LockHeld
from certrotd.id import Id
from certrotd.lifecycle.decision import Decision
from certrotd.rotation.outcome import (
    CANCELLED,
    Finished,
    Outcome,
    Parked,
    RolledBack,
    Stopped,
    Stuck,
)


class Verdict(StrEnum):
    """The result of a rotation in one word; nobody interprets outcomes anew."""

    FINISHED = "finished"
    PARKED = "parked"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    STUCK = "stuck"
    HELD = "held"
    STOPPED = "stopped"


GOOD = frozenset({Verdict.FINISHED, Verdict.PARKED, Verdict.CANCELLED})


@dataclass(frozen=True)
class Report:
    """The result for one ``subject``.

    ``recovered`` is the outcome of a rotation found in flight; ``outcome`` that of the one begun
    by ``decision``; ``failure`` what kept both from happening, or from being recorded, or
    else what is wrong besides. ``mended`` is why something was repaired first, if it was.
    """

    subject: Id
    decision: Decision | None = None
    outcome: Outcome | None = None
    recovered: Outcome | None = None
    failure: Failure | None = None
    mended: str = ""

    @property
    def last(self) -> Outcome | None:
        """The outcome that counts."""
        return self.outcome or self.recovered

    @property
    def failed(self) -> bool:
        """Whether an operator should know: something failed, now or in what was recovered."""
        outcomes = (each for each in (self.outcome, self.recovered) if each is not None)
        return self.failure is not None or any(verdict_of(each) not in GOOD for each in outcomes)

    @property
    def refused(self) -> bool:
        """Whether it was only not begun, or given back, for another process or for a stop."""
        return isinstance(self.failure, LockHeld | Stopped)


def verdict_of(outcome: Outcome | Failure) -> Verdict:
    """The word for an outcome, or for what kept a rotation from having one."""
    match outcome:
        case Finished():
            return Verdict.FINISHED
        case Parked(failed=failed):
            return Verdict.FAILED if failed else Verdict.PARKED
        case RolledBack(because=because) if because == CANCELLED:
            return Verdict.CANCELLED  # as somebody asked for
        case RolledBack(stopped=stopped):
            return Verdict.STOPPED if stopped else Verdict.ROLLED_BACK
        case Stuck():
            return Verdict.STUCK
        case LockHeld():
            return Verdict.HELD
        case Stopped():
            return Verdict.STOPPED
        case _:
            return Verdict.FAILED


def beside(report: Report, trouble: Failure | None) -> Report:
    """The report with that trouble, unless it reports something worse."""
    return replace(report, failure=trouble) if trouble and not report.failed else report
