"""How one certificate stands, shaped for people and programs: the only place that says so.

``certrotd status --json`` and ``/status.json`` list the same keys, because both are made here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from certrotd.certs.decision import after_failures
from certrotd.certs.fitness import CLOCK_SKEW
from certrotd.certs.inventory import Row
from certrotd.certs.watching import missed_chain
from certrotd.errors import Failure
from certrotd.lifecycle.decision import Postpone, Wait
from certrotd.lifecycle.gate import Held
from certrotd.pki.certificate import CertificateFacts
from certrotd.scheduling.gates import reason

if TYPE_CHECKING:  # both open sockets, which a listing does not
    from certrotd.certs.world import World
    from certrotd.observe.tls import Endpoint
from certrotd.rotation.flight import Flight

PAUSE = 0.2
UNREADABLE, IN_FLIGHT = "unreadable", "in_flight"
STATES = (
    "unreadable",
    "expired",
    "not yet valid",
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
        "kind": policy.id.kind,
        "name": policy.name,
        "names": list(facts.names if facts else policy.names),
        "state": state_of(row, now=now),
        "decision": row.decision.act if row.decision else None,
        "reason": why_of(row),
        "reason_code": code_of(row),
        "next_check": next_of(row, now=now),
        "generation": live.number if live else None,
        "newest_generation": newest.number if newest else None,
        "not_before": facts.not_before if facts else None,
        "not_after": facts.not_after if facts else None,
        "issuer": facts.issuer if facts else None,
        "key_type": facts.key_type if facts else None,
        "fingerprint": facts.fingerprint if facts else None,
        "in_flight": flight_of(row.flight),
        "held": held_of(row.held),
        "failures": attempts.failures + (row.flight.tries if row.flight else 0),
        "last_failure": (row.flight.why if row.flight else "") or attempts.why or None,
        "targets": targets_of(row, probe=probe),
        "remark": missed_chain(live, policy) or None,
    }


def flight_of(flight: Flight | None) -> dict[str, Any] | None:
    """A rotation in flight: its step, since when, why it rests, until when, and how many tries."""
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


def held_of(held: Held | None) -> dict[str, Any] | None:
    """What holds back what is due: by which gate, why, and until when."""
    return None if held is None else {"by": held.by.value, "why": held.why, "until": held.until}


def state_of(row: Row, *, now: datetime) -> str:
    """One word of STATES; a rotation in flight does not hide what is served meanwhile."""
    live = row.standing.live
    if row.failure is not None:
        return "unreadable"
    facts = live.facts if live is not None and not live.placeholder else None
    dated = _dated(facts, now) if facts is not None else ""
    if row.flight is not None:
        return dated or "in flight"
    if not row.managed.policy.enabled:
        return "disabled"
    if live is None:
        return "missing"
    if live.facts is None:
        return "broken"
    if live.placeholder:
        return "placeholder"
    if dated:
        return dated
    if live.damaged is not None:
        return "broken"
    if isinstance(row.decision, Wait):
        return "ok"
    return "postponed" if row.held or isinstance(row.decision, Postpone) else "due"


def _dated(facts: CertificateFacts, now: datetime) -> str:
    """What clients find wrong with its dates, by this machine's clock."""
    if facts.not_after <= now:
        return "expired"
    return "not yet valid" if facts.not_before > now + CLOCK_SKEW else ""


def why_of(row: Row) -> str:
    """The reason behind the state, in words."""
    if row.failure is not None:
        return str(row.failure)
    if row.flight is not None:
        return str(row.flight)
    if row.decision is None:
        return ""
    words, attempts = reason(row.decision, row.held), row.attempts
    if not attempts.failures or isinstance(row.decision, Wait) or attempts.why in words:
        return words
    return f"{words}; {after_failures(attempts)}"


def code_of(row: Row) -> str | None:
    """The rule or the gate behind the state, by the code that ``certrotd plan --explain`` lists."""
    if row.failure is not None:
        return UNREADABLE
    if row.flight is not None:
        return IN_FLIGHT
    if row.held is not None and not isinstance(row.decision, Wait):
        return row.held.by.value
    return row.decision.code if row.decision else None


def next_of(row: Row, *, now: datetime) -> datetime | None:
    """When this certificate is looked at again; what is due is due now.

    None if that is not known: it hangs on somebody, or on the clock.
    """
    if row.decision is None or row.failure is not None:
        return None
    if isinstance(row.decision, Wait) and row.flight is None:
        return row.decision.until
    if row.held is not None:
        return row.held.until
    return row.flight.until or now if row.flight else now


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
            target["endpoints"] = _endpoints(row, name, wanted)
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
        return f"NOT SEEN: {silent}" if silent else "SERVES ANOTHER CERTIFICATE"
    if target["generation"] is None:
        return "not deployed yet"
    if target["serves"] is None:
        return f"generation {target['generation']}, no probe"
    return f"generation {target['generation']}"


def _endpoints(row: Row, name: str, wanted: str | None) -> list[dict[str, Any]]:
    world = row.managed.world()
    bound = world.target(name)
    live, found = row.standing.live, []
    key = live.facts.key_type if live and live.facts else ""
    for endpoint in bound.endpoints if bound else ():
        try:
            served, problem = _serves(world, replace(endpoint, key=key), wanted), None
        except Failure as failure:
            served, problem = None, str(failure)
        found.append({"endpoint": str(endpoint), "serves": served, "problem": problem})
    return found


def _serves(world: World, endpoint: Endpoint, wanted: str | None) -> str:
    """The leaf that is served: the one that is ``wanted`` if a row shows it after one that did not.

    An old worker that a busy machine leaves no time to end takes a connection now and then, long
    after the new ones were proven; what really serves something else does so again.
    """
    first = seen = world.prober.look(endpoint).fingerprint
    for _ in range(endpoint.consecutive if seen != wanted else 0):
        world.clock.sleep(PAUSE)
        seen = world.prober.look(endpoint).fingerprint
        if seen != wanted:
            return first
    return seen
