"""One certificate looked at: what is there, what is due, and what holds it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from certrotd.certs.managed import Managed, attempts_of
from certrotd.certs.rules import decide
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Decision, Postpone, Wait, by_decision
from certrotd.lifecycle.gate import Gate, Held
from certrotd.observers import Look
from certrotd.rotation.flight import Flight, flight_in
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.backoff import Backoff
from certrotd.scheduling.clock_trust import Judgement
from certrotd.scheduling.gates import by_clock, by_failure
from certrotd.scheduling.workload import Workload


def flight_of(
    managed: Managed, work: Workload, rest: Held | None, tries: int
) -> tuple[Flight | None, Failure | None]:
    """The rotation in flight, or why it is not known whether there is one.

    With what this process knows of why it does not go on: why it rests, after so many ``tries``.
    """
    subject = managed.policy.id
    try:
        flight = (flight_in(managed.journal) or Flight()) if work.in_flight(subject) else None
    except (Failure, OSError) as error:
        return None, as_failure(error, f"look for a rotation of {subject.name} in flight")
    if flight is not None and rest is not None:
        why, tries = rest.why or flight.why, max(flight.tries, tries)
        flight = replace(flight, why=why, until=rest.until, tries=tries)
    return flight, None


def look_at(
    managed: Managed,
    flight: Flight | None,
    unknown: Failure | None,
    backoff: Backoff,
    judgement: Judgement,
    *,
    thorough: bool,
    now: datetime,
    monotonic: float,
) -> Look:
    """All of it; raises what a look at the store or the history raises.

    ``unknown`` is why it is not known what is in flight. A certificate at which a rest is over,
    and which has come to no rest by itself, is held by its decision or the clock, if by anything.
    """
    standing, attempts = managed.look(thorough=thorough), attempts_of(managed)
    decision = decide(managed.policy, standing, attempts, now=now)
    held = backoff.held(managed.policy.id, now, monotonic)
    if held is None and unknown is not None:
        held = by_failure(unknown, by=Gate.JOURNALS)
    if held is None and flight is None:
        held = _done_just_now(managed.policy.id, decision, backoff, now, monotonic)
        held = held or by_decision(decision) or by_clock(judgement, decision)
    return Look(managed, standing, attempts, decision, now, flight, held, unknown)


def _done_just_now(
    subject: Id, decision: Decision, backoff: Backoff, now: datetime, monotonic: float
) -> Held | None:
    """What was done and is due at once again rests: more of the same does not help."""
    if isinstance(decision, Wait | Postpone) or not backoff.again(subject, type(decision).__name__):
        return None
    backoff.trouble(subject, "it is due again right after a rotation", now, monotonic)
    return backoff.held(subject, now, monotonic)
