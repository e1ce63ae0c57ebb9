"""How one certificate stands, shaped for people and programs: the only place that says so.

``certrotd status --json`` and ``/status.json`` list the same keys, because both are made here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from certrotd.certs.decision import Postpone, Wait
from certrotd.daemon.fleet import Row
from certrotd.daemon.words import kind_of
from certrotd.errors import Failure

STATES = (
    "unreadable",
    "expired",
    "broken",
    "missing",
    "placeholder",
    "postponed",
    "due",
    "in flight",
    "ok",
    "disabled",
)
"""Every state a certificate can be in, the worst first."""


def status_of(row: Row, *, now: datetime, probe: bool = False) -> dict[str, Any]:
    """One certificate as listings show it; ``probe`` asks the targets what they serve right now.

    Dates are datetimes, what is not known is None.
    """
    policy, live, newest = row.managed.policy, row.standing.live, row.standing.newest
    facts = live.facts if live and not live.placeholder else None
    attempts = row.attempts
    return {
        "name": policy.name,
        "names": list(facts.names if facts else policy.names),
        "state": state_of(row, now=now),
        "decision": kind_of(row.decision) if row.decision else None,
        "reason": why_of(row),
        "next_check": next_of(row, now=now),
        "generation": live.number if live else None,
        "newest_generation": newest.number if newest else None,
        "not_before": facts.not_before if facts else None,
        "not_after": facts.not_after if facts else None,
        "issuer": facts.issuer if facts else None,
        "key_type": facts.key_type if facts else None,
        "fingerprint": facts.fingerprint if facts else None,
        "in_flight": row.in_flight,
        "failures": attempts.failures,
        "last_failure": attempts.why or None,
        "targets": targets_of(row, probe=probe),
    }


def state_of(row: Row, *, now: datetime) -> str:
    """One word of STATES."""
    live = row.standing.live
    if row.failure is not None:
        return "unreadable"
    if row.in_flight:
        return "in flight"
    if not row.managed.policy.enabled:
        return "disabled"
    if live is None:
        return "missing"
    if live.facts is None:
        return "broken"
    if live.placeholder:
        return "placeholder"
    if live.facts.not_after <= now:
        return "expired"
    match row.decision:
        case Wait():
            return "ok"
        case Postpone():
            return "postponed"
        case _:
            return "due"


def why_of(row: Row) -> str:
    """The reason behind the state, in words."""
    if row.failure is not None:
        return str(row.failure)
    if row.in_flight:
        return row.resting or "a rotation is under way or waits to be finished by the next run"
    return row.decision.why if row.decision else ""


def next_of(row: Row, *, now: datetime) -> datetime | None:
    """When this certificate is looked at again; what is due is due now."""
    if isinstance(row.decision, Wait | Postpone):
        return row.decision.until
    return None if row.decision is None else now


def targets_of(row: Row, *, probe: bool = False) -> list[dict[str, Any]]:
    """What each target was last proven to serve, and with ``probe`` what it serves right now."""
    known = row.standing.state.targets
    live = row.standing.live
    wanted = live.facts.fingerprint if live and live.facts else None
    found = []
    for name in row.managed.policy.targets:
        state = known.get(name)
        target: dict[str, Any] = {
            "name": name,
            "generation": state.generation if state else None,
            "serves": state.fingerprint or None if state else None,
            "proven": state.proven if state and state.fingerprint else None,
        }
        target["current"] = wanted is not None and target["serves"] == wanted
        if probe:
            target["endpoints"] = _endpoints(row, name)
            if served := [endpoint["serves"] for endpoint in target["endpoints"]]:
                target["current"] = all(each is not None and each == wanted for each in served)
        found.append(target)
    return found


def target_words(target: dict[str, Any]) -> str:
    """What is known of one of ``targets_of``, without its name."""
    if target["current"]:
        return "ok"
    if endpoints := target.get("endpoints"):
        silent = next((each["problem"] for each in endpoints if each["problem"]), None)
        return f"NOT SEEN: {silent}" if silent else "SERVES SOMETHING ELSE"
    if target["generation"] is None:
        return "not told yet"
    if target["serves"] is None:
        return f"generation {target['generation']}, no probe"
    return f"generation {target['generation']}"


def _endpoints(row: Row, name: str) -> list[dict[str, Any]]:
    world = row.managed.world()
    bound = world.target(name)
    found = []
    for endpoint in bound.endpoints if bound else ():
        try:
            served, problem = world.prober.look(endpoint).fingerprint, None
        except Failure as failure:
            served, problem = None, str(failure)
        found.append({"endpoint": str(endpoint), "serves": served, "problem": problem})
    return found
