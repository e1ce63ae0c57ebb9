"""What can be decided about a certificate, and how long to wait after a failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from certrotd.certs.policy import Attempts
from certrotd.lifecycle.gate import Gate, Held
from certrotd.wording import count

BACKOFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
RECHECK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due before ``until``."""

    why: str
    until: datetime
    code: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Renew:
    """Obtain a new certificate and deploy it; it has been due since ``at``.

    One that is ``forced`` takes whatever comes; any other nothing worse than what is live.
    """

    why: str
    at: datetime
    forced: bool = False
    code: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Deploy:
    """Deploy a generation that is already on disk; no order is needed.

    ``mends``: because the live one is damaged or must not be served.
    """

    why: str
    generation: int
    mends: bool = False
    code: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Adopt:
    """Take over the existing pair as generation 1."""

    why: str
    code: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Put a placeholder in place as this generation, until there is a certificate."""

    why: str
    generation: int
    code: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Withdraw TXT records that an earlier attempt left behind."""

    why: str
    code: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Postpone:
    """``instead`` is due, but not before ``until``; ``by`` is what it waits for."""

    why: str
    until: datetime
    instead: Renew | Deploy | Adopt | Bootstrap | Sweep
    by: Literal["backoff", "retry_after", "hold", "window"] = "backoff"

    @property
    def code(self) -> str:
        """The rule by which it is not done now."""
        return self.by


Action = Renew | Deploy | Adopt | Bootstrap | Sweep
Decision = Wait | Postpone | Action


def by_decision(decision: Decision | None) -> Held | None:
    """A backoff, the CA's Retry-After, or a hold after a rollback."""
    if not isinstance(decision, Postpone):
        return None
    return Held(Gate(decision.by), decision.why, decision.until)


def backoff(failures: int, left: timedelta | None) -> timedelta:
    """How long to wait after one or more failures in a row: 1, 10, 100 minutes, then a day.

    Compressed when only ``left`` of the lifetime remains, so that several attempts fit before
    the end.
    """
    delay = BACKOFF[min(failures, len(BACKOFF)) - 1]
    if left is None:
        return min(delay, BACKOFF[2])
    return max(BACKOFF[0], min(delay, left / 10))


def after_failures(attempts: Attempts) -> str:
    """How often it has failed in a row, and the last reason."""
    return f"after {count(attempts.failures, 'failure')}, the last: {attempts.why}"


def longest_wait(left: timedelta | None) -> timedelta:
    """How long to wait at most because a CA asks for it, when so much lifetime is ``left``.

    A quarter of it, so that there are three more tries at least before the end, whatever the CA
    says each time; a day where nothing is served.
    """
    return BACKOFF[-1] if left is None else max(BACKOFF[0], left / 4)
