"""What can be done about a certificate, and how long to wait after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from certrotd.lifecycle.attempts import BACKOFF
from certrotd.lifecycle.decision import Action
from certrotd.pki.generation import PLACEHOLDER

RECHECK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Renew(Action):
    """Obtain a new certificate and deploy it; it has been due since ``at``.

    One that is ``forced`` takes whatever comes; any other nothing worse than what is live.
    """

    act: ClassVar[str] = "renew"
    needs_clock: ClassVar[bool] = True
    at: datetime
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Deploy(Action):
    """Deploy a generation that is already on disk; no order is needed.

    ``mends``: because the live one is damaged or must not be served.
    """

    act: ClassVar[str] = "deploy"
    generation: int
    mends: bool = False


@dataclass(frozen=True, slots=True)
class Adopt(Action):
    """Take over the existing pair as generation 1; without one, an order comes next."""

    act: ClassVar[str] = "adopt"
    needs_clock: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Bootstrap(Action):
    """Put a placeholder in place as this generation, until there is a certificate."""

    act: ClassVar[str] = PLACEHOLDER
    generation: int


@dataclass(frozen=True, slots=True)
class CatchUp(Action):
    """Bring those up to date that run with an older copy: ``names`` by target."""

    act: ClassVar[str] = "catch_up"
    names: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Revoke(Action):
    """Have the CA revoke generations of which it could not be told before."""

    act: ClassVar[str] = "revoke"
    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Delete(Action):
    """Remove all that there is of a certificate; only a person decides that."""

    act: ClassVar[str] = "delete"


@dataclass(frozen=True, slots=True)
class Sweep(Action):
    """Withdraw TXT records that an earlier attempt left behind."""

    act: ClassVar[str] = "sweep"


def longest_wait(left: timedelta | None) -> timedelta:
    """How long to wait at most because a CA asks for it, when so much lifetime is ``left``.

    A quarter of it, so that there are three more tries at least before the end, whatever the CA
    says each time; a day where nothing is served.
    """
    return BACKOFF[-1] if left is None else max(BACKOFF[0], left / 4)
