"""What came of the rotation of one certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from certrotd.certs.decision import (
    Decision,
)
from certrotd.certs.managed import Managed
from certrotd.errors import Failure, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.rotation.engine import (
    Finished,
    Outcome,
    Parked,
    RolledBack,
)
from certrotd.rotation.outcome import CANCELLED


@dataclass(frozen=True)
class Report:
    """What came of one certificate, the ``subject``.

    ``recovered`` is the outcome of a rotation found in flight; ``outcome`` that of the one begun
    by ``decision``; ``failure`` what kept both from happening, or from being recorded, or else
    what is wrong beside them. ``mended`` is what came before: the live generation was damaged.
    """

    subject: Id
    decision: Decision | None = None
    outcome: Outcome | None = None
    recovered: Outcome | None = None
    failure: Failure | None = None
    mended: str = ""

    @property
    def failed(self) -> bool:
        """Whether somebody should be told: a step failed, now or in what was recovered."""
        return self.failure is not None or not (_good(self.outcome) and _good(self.recovered))


def beside(report: Report, trouble: Failure | None) -> Report:
    """The report with a trouble beside it, unless there is something worse to say."""
    return replace(report, failure=trouble) if trouble and not report.failed else report


def with_live(failure: Failure, managed: Managed) -> Failure:
    """A trouble with the disk, which may have come before the swap or long after it."""
    if not isinstance(failure, DiskTrouble):
        return failure
    try:
        live = managed.look().live
    except Failure:
        return failure  # the disk says no more
    what = f"generation {live.number} is live" if live else "no generation is live"
    return Transient(f"{failure.message}; {what}", hint=failure.hint)


def _good(outcome: Outcome | None) -> bool:
    match outcome:
        case None | Finished():
            return True
        case Parked(failed=failed):
            return not failed
        case RolledBack(because=because):
            return because == CANCELLED  # as somebody asked for
        case _:
            return False
