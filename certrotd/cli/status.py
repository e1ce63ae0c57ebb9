"""``certrotd status`` and ``certrotd plan``: where every certificate stands, and what is next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from certrotd.certs.decision import Postpone, Wait
from certrotd.cli.output import keeping_all, print_json, print_table, span, stamp
from certrotd.cli.words import kind_of
from certrotd.clock import SystemClock
from certrotd.daemon.fleet import Row
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import Failure


def status(config: Path, names: Sequence[str], *, probe: bool, as_json: bool) -> int:
    """Carry out ``certrotd status``; the exit code."""
    with keeping_all(), open_site(config, clock=SystemClock(), command="certrotd status") as site:
        now, failed = site.clock.now(), False
        shown: list[Any] = []
        for row in site.fleet.look(site.fleet.chosen(names), now=now, in_flight=site.in_flight):
            failed = failed or row.failure is not None
            show = _status_json if as_json else _status_row
            shown.append(show(row, now=now, probe=probe))
        if as_json:
            print_json(shown)
        else:
            columns = ("NAME", "NAMES", "EXPIRES", "LEFT", "GEN", "STATE", "NEXT", "TARGETS", "WHY")
            print_table(columns, shown)
        return 1 if failed else 0


def plan(config: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Carry out ``certrotd plan``; the exit code."""
    with keeping_all(), open_site(config, clock=SystemClock(), command="certrotd plan") as site:
        now = site.clock.now()
        rows = list(site.fleet.look(site.fleet.chosen(names), now=now, in_flight=site.in_flight))
        plans = [_plan_json(row, site, now=now) for row in rows]
        if as_json:
            print_json(plans)
        else:
            table = [
                (p["name"], p["decision"], stamp(p["at"]), ", ".join(p["steps"]) or "-", p["why"])
                for p in plans
            ]
            print_table(("NAME", "DECISION", "AT", "STEPS", "WHY"), table)
        return 1 if any(row.failure for row in rows) else 0


def _status_json(row: Row, *, now: datetime, probe: bool) -> dict[str, Any]:
    policy, live, newest = row.managed.policy, row.standing.live, row.standing.newest
    facts = live.facts if live else None
    attempts = row.attempts
    return {
        "name": policy.name,
        "names": list(facts.names if facts else policy.names),
        "state": _state(row, now=now),
        "decision": kind_of(row.decision) if row.decision else None,
        "reason": _why(row),
        "next_check": _next(row, now=now),
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
        "targets": _targets(row, probe=probe),
    }


def _status_row(row: Row, *, now: datetime, probe: bool) -> tuple[str, ...]:
    policy, live = row.managed.policy, row.standing.live
    facts = live.facts if live else None
    names = facts.names if facts else policy.names
    shown = names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else "-"
    targets = ", ".join(_target_words(target) for target in _targets(row, probe=probe))
    return (
        policy.name,
        shown,
        stamp(facts.not_after) if facts else "-",
        span(facts.not_after - now) if facts else "-",
        str(live.number) if live else "-",
        _state(row, now=now),
        stamp(_next(row, now=now)),
        targets or "-",
        _why(row),
    )


def _targets(row: Row, *, probe: bool) -> list[dict[str, Any]]:
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
            served = [endpoint["serves"] for endpoint in target["endpoints"]]
            target["current"] = bool(served) and all(each == wanted for each in served)
        found.append(target)
    return found


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


def _target_words(target: dict[str, Any]) -> str:
    if target["current"]:
        return f"{target['name']}: ok"
    if "endpoints" in target:
        return f"{target['name']}: SERVES SOMETHING ELSE"
    if target["generation"] is None:
        return f"{target['name']}: not told yet"
    if target["serves"] is None:
        return f"{target['name']}: generation {target['generation']}, no probe"
    return f"{target['name']}: generation {target['generation']}"


def _state(row: Row, *, now: datetime) -> str:
    """One word: ok, due, postponed, missing, expired, broken, in flight, disabled or unreadable."""
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
    if live.facts.not_after <= now:
        return "expired"
    match row.decision:
        case Wait():
            return "ok"
        case Postpone():
            return "postponed"
        case _:
            return "due"


def _why(row: Row) -> str:
    if row.failure is not None:
        return str(row.failure)
    if row.in_flight:
        return "a rotation is under way or waits to be finished by the next run"
    return row.decision.why if row.decision else ""


def _next(row: Row, *, now: datetime) -> datetime | None:
    """When this certificate is looked at again; what is due is due now."""
    if isinstance(row.decision, Wait | Postpone):
        return row.decision.until
    return None if row.decision is None else now


def _plan_json(row: Row, site: Site, *, now: datetime) -> dict[str, Any]:
    decision = row.decision
    steps: list[str] = []
    if row.in_flight:
        steps = ["finish what is in flight"]
    elif decision is not None and not isinstance(decision, Wait | Postpone):
        steps = site.steps(row, decision)
    return {
        "name": row.managed.policy.name,
        "decision": kind_of(decision) if decision else "-",
        "at": _next(row, now=now),
        "why": _why(row),
        "steps": steps,
    }
