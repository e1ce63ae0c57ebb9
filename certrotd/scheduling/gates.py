"""What holds a rotation back: every reason of the daemon's why what is due is not done now.

``certrotd status``, ``certrotd plan`` and the page say the same, because none of them makes up a
reason of its own.
"""

from __future__ import annotations

from certrotd.errors import Failure, LockHeld
from certrotd.lifecycle.decision import Action, Decision
from certrotd.lifecycle.gate import Gate, Held
from certrotd.scheduling.clock_trust import ClockTrust, Judgement

DIRECTORIES = "the directories"
"""What the trouble is about, for observers, when the directories are gone."""
DISK = "the disk"
"""And when there is no room."""


def by_clock(judgement: Judgement, decision: Decision | None) -> Held | None:
    """A clock that is wrong holds back whatever goes by it elsewhere."""
    if decision is None or not decision.needs_clock or judgement.trust is ClockTrust.SOUND:
        return None
    return Held(Gate.CLOCK, f"{judgement.why}: nothing is ordered until the clock is right")


def by_disk(full: Failure | None, decision: Decision | None) -> Held | None:
    """A disk without room holds back whatever would begin."""
    if full is None or not isinstance(decision, Action):
        return None
    return Held(Gate.DISK, str(full))


def by_failure(failure: Failure, *, by: Gate = Gate.TROUBLE) -> Held:
    """Something failed that the history does not show, or another process holds the lock."""
    return Held(Gate.LOCK if isinstance(failure, LockHeld) else by, str(failure))
