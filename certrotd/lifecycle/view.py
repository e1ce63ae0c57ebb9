"""How one subject stands: the only place that says why it is, or is not, rotated now.

The page, ``certrotd status`` and ``certrotd plan`` show the same, because all of it is made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.attempts import after_failures
from certrotd.lifecycle.decision import Decision, Postpone, Tried, Wait
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.subject import CLOCK_SKEW, Found, Subject, Validity
from certrotd.value import value

if TYPE_CHECKING:  # most are calm
    from certrotd.rotation.flight import Flight

UNREADABLE, IN_FLIGHT, DISABLED = "unreadable", "in_flight", "disabled"
STATES = (
    UNREADABLE,
    "expired",
    "not yet valid",
    "broken",
    "missing",
    "placeholder",
    "postponed",
    "due",
    "in flight",
    "ok",
    DISABLED,
)
"""Every state a subject can be in, the worst first."""

OPEN = {
    Gate.DISK: "there is room on the disk",
    Gate.LOCK: "no other process holds its lock",
    Gate.CLOCK: "the clock can be right, as far as files show",
    Gate.BUDGET: "the limits of the account leave room, or it is not needed",
}
"""The gates that a listing can check without the daemon, and what it means if one is open."""


@value
class View:
    """One subject as it was ``found`` at ``now``, or why it could not be looked at.

    ``flight`` is the rotation in flight, ``held`` what holds back what is due, or in flight. With
    a ``failure`` there may be a decision all the same: then it is not known whether a rotation is
    in flight.
    """

    subject: Subject
    found: Found
    now: datetime
    flight: Flight | None = None
    held: Held | None = None
    failure: Failure | None = None

    @property
    def id(self) -> Id:
        return self.subject.id

    @property
    def decision(self) -> Decision | None:
        return self.found.decision

    @property
    def calm(self) -> bool:
        """Whether nothing is to be done now, and nothing half done."""
        settled = self.flight is None and self.failure is None
        return settled and isinstance(self.decision, Wait | Postpone)

    @property
    def failures(self) -> int:
        """How often in a row a rotation failed, closed or still in flight."""
        return self.found.failures + (self.flight.tries if self.flight else 0)

    @property
    def last_failure(self) -> str:
        """Why it failed the last time, or waits; empty if it did not."""
        return (self.flight.why if self.flight else "") or self.found.failure

    @property
    def failed_at(self) -> datetime | None:
        """When that was."""
        return (self.flight.at if self.flight else None) or self.found.failed_at

    @property
    def state(self) -> str:
        """One word of STATES; a rotation in flight does not hide what is served meanwhile."""
        found = self.found
        if self.failure is not None:
            return UNREADABLE
        dated = _dated(found.validity, self.now)
        if self.flight is not None:
            return dated or "in flight"
        condition = found.condition
        if condition == DISABLED:
            return DISABLED
        if dated or condition:
            return dated or condition
        if isinstance(found.decision, Wait):
            return "ok"
        return "postponed" if self.held or isinstance(found.decision, Postpone) else "due"

    @property
    def why(self) -> str:
        """The reason behind the state, in words."""
        found, decision = self.found, self.decision
        if self.failure is not None:
            return str(self.failure)
        if self.flight is not None:
            return str(self.flight)
        if decision is None:
            return ""
        words = reason(decision, self.held)
        if not found.failures or isinstance(decision, Wait) or found.failure in words:
            return words
        return f"{words}; {after_failures(found.failures, found.failure)}"

    @property
    def code(self) -> str | None:
        """The rule or the gate behind the state, by the code that explain() lists."""
        if self.failure is not None:
            return UNREADABLE
        if self.flight is not None:
            return IN_FLIGHT
        if self.held is not None and not isinstance(self.decision, Wait):
            return self.held.by
        return self.decision.code if self.decision else None

    @property
    def next(self) -> datetime | None:
        """When it is looked at again, now if it is due; None if nobody knows."""
        if self.decision is None or self.failure is not None:
            return None
        if isinstance(self.decision, Wait) and self.flight is None:
            return self.decision.until
        if self.held is not None:
            return self.held.until
        return self.flight.until or self.now if self.flight else self.now

    def explain(self) -> Iterator[Tried]:
        """The rules and gates that were tried, in order; the last that matches is the reason."""
        if self.failure is not None:
            yield Tried(UNREADABLE, True, str(self.failure))
            return
        flight = self.flight
        yield Tried(IN_FLIGHT, flight is not None, str(flight or "no rotation is in flight"))
        if flight is not None:
            return
        yield from self.found.explain(now=self.now)
        if isinstance(self.decision, Wait | Postpone):
            return
        for gate, otherwise in OPEN.items():
            held = self.held if self.held is not None and self.held.by is gate else None
            yield Tried(gate, held is not None, held.why if held else otherwise)
            if held is not None:
                return

    def to_json(self, *, ask: bool = False) -> dict[str, Any]:
        """As listings show it; moments stay moments, what is not known is None.

        ``ask`` its consumers what they have right now.
        """
        found, validity = self.found, self.found.validity
        return {
            "kind": self.id.kind,
            "name": self.id.name,
            "state": self.state,
            "decision": self.decision.act if self.decision else None,
            "reason": self.why,
            "reason_code": self.code,
            "next_check": self.next,
            "generation": found.version,
            "not_before": validity.not_before if validity else None,
            "not_after": validity.not_after if validity else None,
            "in_flight": flight_json(self.flight),
            "held": held_json(self.held),
            "failures": self.failures,
            "last_failure": self.last_failure or None,
            **found.to_json(ask=ask),
            "remark": found.remark or None,
        }


def _dated(validity: Validity | None, now: datetime) -> str:
    """What is wrong with the dates of what is in use, by this machine's clock."""
    if validity is None:
        return ""
    if validity.not_after <= now:
        return "expired"
    return "not yet valid" if validity.not_before > now + CLOCK_SKEW else ""


def flight_json(flight: Flight | None) -> dict[str, Any] | None:
    """A rotation in flight: its step, since when, why it waits, until when, and how many tries."""
    if flight is None:
        return None
    return {
        "step": flight.step or None,
        "undoing": flight.undoing,
        "since": flight.since,
        "why": flight.why or None,
        "until": flight.until,
        "tries": flight.tries,
    }


def held_json(held: Held | None) -> dict[str, Any] | None:
    """What holds back what is due: by which gate, why, and until when."""
    return None if held is None else {"by": held.by, "why": held.why, "until": held.until}


def reason(decision: Decision, held: Held | None) -> str:
    """Why it stands as it does: what holds it back first, and then what is due."""
    if held is None or isinstance(decision, Wait):
        return decision.why
    if isinstance(decision, Postpone):
        return held.why
    return f"{held.why}; due: {decision.why}"
