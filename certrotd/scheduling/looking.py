"""One subject looked at: what is there, what is due, and what holds it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Action, Decision, by_decision
from certrotd.lifecycle.gate import Gate, Held
from certrotd.lifecycle.subject import Subject
from certrotd.lifecycle.view import View
from certrotd.rotation.flight import Flight, flight_in
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.backoff import Backoff
from certrotd.scheduling.clock_trust import Judgement
from certrotd.scheduling.gates import by_clock, by_disk, by_failure
from certrotd.scheduling.workload import Workload


def flight_of(
    subject: Subject, work: Workload, rest: Held | None, tries: int
) -> tuple[Flight | None, Failure | None]:
    """The rotation in flight, or why it is not known whether there is one.

    With what this process knows of why it waits: ``rest``, after so many ``tries``.
    """
    try:
        flight = (flight_in(subject.journal) or Flight()) if work.in_flight(subject.id) else None
    except (Failure, OSError) as error:
        return None, as_failure(error, f"look for a rotation of {subject.id.name} in flight")
    if flight is not None and rest is not None:
        why, tries = rest.why or flight.why, max(flight.tries, tries)
        flight = replace(flight, why=why, until=rest.until, tries=tries)
    return flight, None


def look_at(
    subject: Subject,
    flight: Flight | None,
    unknown: Failure | None,
    backoff: Backoff,
    judgement: Judgement,
    full: Failure | None,
    *,
    thorough: bool,
    now: datetime,
    monotonic: float,
) -> View:
    """All of it; raises what a look at the subject raises.

    ``unknown`` is why it is not known what is in flight, ``full`` why there is no room. What
    ``backoff`` does not hold, the decision, the disk or the clock may hold.
    """
    found = subject.look(now=now, thorough=thorough)
    held = backoff.held(subject.id, now, monotonic)
    if held is None and unknown is not None:
        held = by_failure(unknown, by=Gate.JOURNALS)
    if held is None and flight is None:
        held = _done_just_now(subject.id, found.decision, backoff, now, monotonic)
        held = held or by_decision(found.decision) or by_disk(full, found.decision)
        held = held or by_clock(judgement, found.decision)
    return View(subject, found, now, flight, held, unknown)


def _done_just_now(
    subject: Id, decision: Decision | None, backoff: Backoff, now: datetime, monotonic: float
) -> Held | None:
    """What was just done and is due again has to wait: more of the same does not help."""
    if not isinstance(decision, Action) or not backoff.again(subject, decision.act):
        return None
    backoff.trouble(subject, "it is due again right after a rotation", now, monotonic)
    return backoff.held(subject, now, monotonic)
