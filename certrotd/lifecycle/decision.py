"""What can be decided about a managed thing, whichever kind it is: to wait, to postpone, to act."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from certrotd.lifecycle.gate import Gate, Held
from certrotd.value import value

ACT = "act"
"""The fact that says what a rotation is for, as Action.act or "rollback"."""
CONFIGURATION = "configuration"
"""The fact that says by which configuration a rotation went, as Rotatable.configuration."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done now; each wing has its own.

    ``act`` is one word for it, ``code`` the rule that asks for it. A wrong clock holds back what
    ``needs_clock``.
    """

    act: ClassVar[str]
    needs_clock: ClassVar[bool] = False
    why: str
    code: str = field(default="", compare=False, kw_only=True)

    @property
    def mends(self) -> bool:
        """Whether something that is in use is damaged."""
        return False


@value
class Wait:
    """Nothing is due before ``until``.

    ``asks``: somebody is to be asked now, in a rotation, whether that is still so.
    """

    act: ClassVar[str] = "wait"
    needs_clock: ClassVar[bool] = False
    why: str
    until: datetime
    code: str = field(default="", compare=False)
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Postpone:
    """``instead`` is due, but not before ``until``; ``by`` is what it waits for."""

    act: ClassVar[str] = "postponed"
    needs_clock: ClassVar[bool] = False
    why: str
    until: datetime
    instead: Action
    by: Gate = Gate.BACKOFF

    @property
    def code(self) -> str:
        """The rule by which it is not done now."""
        return self.by


Decision = Wait | Postpone | Action


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was tried: its code, whether it matched, and why."""

    code: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class Asked:
    """How a rotation is asked for.

    ``by_hand``: by a person or a timer, not by the daemon. ``named``: for this subject, not for
    all. ``forced``: whatever the dates say. ``actor``: the account of that person. ``unclaimed``:
    nothing is set aside for an order, as Found.claim asks for; one that is due is left to the next
    look.
    """

    forced: bool = False
    by_hand: bool = False
    named: bool = False
    actor: str = ""
    unclaimed: bool = False


DAEMON = Asked()
"""How the daemon asks."""


def by_decision(decision: Decision | None) -> Held | None:
    """A backoff, a Retry-After, a window, or a hold after a rollback."""
    if not isinstance(decision, Postpone):
        return None
    return Held(decision.by, decision.why, decision.until)
