"""Why a certificate is, or is not, rotated now: every rule and gate that was tried, in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from certrotd.certs.inventory import Row
from certrotd.certs.rules import Tried, explain
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.lifecycle.gate import Gate
from certrotd.reporting.status import IN_FLIGHT, UNREADABLE

OPEN = {
    Gate.CLOCK: "the clock is not behind the last run or a certificate (as files show)",
    Gate.BUDGET: "the CA's limits leave room for an order, or none is needed",
}
"""The gates a listing can look at without the daemon, and what it means that they are open."""


def explanation_of(row: Row, *, now: datetime) -> Iterator[Tried]:
    """The rules and gates that were tried; the last that matches is the reason."""
    if row.failure is not None:
        yield Tried(UNREADABLE, True, str(row.failure))
        return
    flight = row.flight
    yield Tried(IN_FLIGHT, flight is not None, str(flight or "no rotation is in flight"))
    if flight is not None:
        return
    yield from explain(row.managed.policy, row.standing, row.attempts, now=now)
    if isinstance(row.decision, Wait | Postpone):
        return
    for gate, otherwise in OPEN.items():
        held = row.held if row.held is not None and row.held.by is gate else None
        yield Tried(gate.value, held is not None, held.why if held else otherwise)
        if held is not None:
            return
