"""What holds a rotation back: every reason why what is due is not done now is made here.

``certrotd status``, ``certrotd plan`` and the page say the same, because none of them makes up a
reason of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from certrotd.certs.decision import Adopt, Decision, Postpone, Renew, Wait
from certrotd.certs.policy import Policy
from certrotd.daemon.clockwatch import Judgement, Trust
from certrotd.errors import Failure, LockHeld

if TYPE_CHECKING:
    from certrotd.daemon.budget import Over


GROUND = "the directories"
"""What observers are told it is about when the directories are gone."""


class Gate(StrEnum):
    """What can hold a rotation back."""

    DIRECTORIES = "directories"
    JOURNALS = "journals"
    TROUBLE = "trouble"
    LOCK = "lock"
    PARKED = "parked"
    BACKOFF = "backoff"
    RETRY_AFTER = "retry_after"
    HOLD = "hold"
    CLOCK = "clock"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Held:
    """``by`` a gate, because of ``why``; ``until`` then, None if that is not known."""

    by: Gate
    why: str
    until: datetime | None = None


def by_decision(decision: Decision | None) -> Held | None:
    """A backoff, the CA's Retry-After, or a hold after a rollback."""
    if not isinstance(decision, Postpone):
        return None
    return Held(Gate(decision.by), decision.why, decision.until)


def by_clock(judgement: Judgement, decision: Decision | None) -> Held | None:
    """A clock that is wrong holds back whatever ends in an order."""
    if not isinstance(decision, Renew | Adopt) or judgement.trust is Trust.SOUND:
        return None
    return Held(Gate.CLOCK, f"{judgement.why}: nothing is ordered until the clock is right")


def elsewhere(policy: Policy) -> bool:
    """Whether its CA has limits, and a clock of its own."""
    return policy.authority.startswith("https://")


def by_budget(over: Over) -> Held:
    """The CA's limit is used up."""
    return Held(Gate.BUDGET, f"waits for {over.why}", over.until)


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
