"""What holds a rotation back: every reason why what is due is not done now is made here.

``certrotd status``, ``certrotd plan`` and the page say the same, because none of them makes up a
reason of its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.certs.decision import Adopt, Renew
from certrotd.certs.policy import Policy
from certrotd.errors import Failure, LockHeld
from certrotd.lifecycle.decision import Decision, Postpone, Wait
from certrotd.lifecycle.gate import Gate, Held
from certrotd.scheduling.clock_trust import ClockTrust, Judgement

if TYPE_CHECKING:
    from certrotd.certs.limits.sliding_windows import Over


DIRECTORIES = "the directories"
"""What observers are told it is about when the directories are gone."""


def by_clock(judgement: Judgement, decision: Decision | None) -> Held | None:
    """A clock that is wrong holds back whatever ends in an order."""
    if not isinstance(decision, Renew | Adopt) or judgement.trust is ClockTrust.SOUND:
        return None
    return Held(Gate.CLOCK, f"{judgement.why}: nothing is ordered until the clock is right")


def elsewhere(policy: Policy) -> bool:
    """Whether its CA has limits, and a clock of its own."""
    return policy.authority.startswith("https://")


def by_budget(over: Over) -> Held:
    """The CA's limit is used up."""
    return Held(Gate.BUDGET, f"the CA's limit is used up: {over.why}", over.until)


def by_failure(failure: Failure, until: datetime | None = None, *, by: Gate = Gate.TROUBLE) -> Held:
    """Something went wrong that the history does not tell of, or another process is at it."""
    return Held(Gate.LOCK if isinstance(failure, LockHeld) else by, str(failure), until)


def reason(decision: Decision, held: Held | None) -> str:
    """Why it stands as it does: what holds it back first, and then what is due."""
    if held is None or isinstance(decision, Wait):
        return decision.why
    if isinstance(decision, Postpone):
        return held.why
    return f"{held.why}; due: {decision.why}"
