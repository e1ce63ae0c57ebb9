"""``certrotd status`` and ``certrotd plan``: where every certificate stands, and what is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from certrotd.certs.inventory import Row
from certrotd.certs.watching import missed_chain
from certrotd.cli.output import keeping_all, print_json, print_table, say, span, stamp
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import open_site
from certrotd.lifecycle.decision import Wait
from certrotd.pki.order import NOT_OFFERED
from certrotd.reporting.explanation import explanation_of
from certrotd.reporting.status import (
    code_of,
    flight_of,
    held_of,
    next_of,
    state_of,
    status_of,
    target_words,
    targets_of,
    why_of,
)
from certrotd.scheduling.offline_gates import with_gates
from certrotd.state.check import unwritable

FINISH = "finish what is in flight"
_COLUMNS = ("NAME", "STATE", "EXPIRES", "LEFT", "NEXT", "GEN", "TARGETS", "NAMES", "WHY")


def status(config: Path, names: Sequence[str], *, probe: bool, as_json: bool) -> int:
    """Carry out ``certrotd status``; the exit code."""
    with keeping_all(), open_site(config, clock=SystemClock(), command="certrotd status") as site:
        now, failed = site.clock.now(), False
        shown: list[Any] = []
        rows = list(
            site.inventory.look(site.inventory.chosen(names), now=now, in_flight=site.in_flight)
        )
        for row in with_gates(rows, site.config, site.state, now=now):
            failed = failed or row.failure is not None
            show = status_of if as_json else _status_row
            shown.append(show(row, now=now, probe=probe))
        if as_json:
            print_json(shown)
        else:
            print_table(_COLUMNS, shown, well=_is_well)
        if blocked := unwritable(site.config.state_dir, site.config.store_dir):
            say(f"error: {blocked}")
        return 1 if failed or blocked else 0


def plan(config: Path, names: Sequence[str], *, explained: bool, as_json: bool) -> int:
    """Carry out ``certrotd plan``; the exit code."""
    with keeping_all(), open_site(config, clock=SystemClock(), command="certrotd plan") as site:
        now = site.clock.now()
        looked = list(
            site.inventory.look(site.inventory.chosen(names), now=now, in_flight=site.in_flight)
        )
        rows = list(with_gates(looked, site.config, site.state, now=now))
        plans = [_plan_json(row, now=now) for row in rows]
        if explained:
            for each, row in zip(plans, rows, strict=True):
                each["rules"] = [asdict(tried) for tried in explanation_of(row, now=now)]
        if as_json:
            print_json(plans)
        else:
            table = [
                (p["name"], p["decision"], stamp(p["at"]), ", ".join(p["steps"]) or "-", p["why"])
                for p in plans
            ]
            print_table(("NAME", "DECISION", "AT", "STEPS", "WHY"), table)
            for each in plans if explained else ():
                rules = [
                    (each["name"], rule["code"], "yes" if rule["matched"] else "no", rule["why"])
                    for rule in each["rules"]
                ]
                print_table(("NAME", "RULE", "MATCHES", "WHY"), rules)
        return 1 if any(row.failure for row in rows) else 0


def _status_row(row: Row, *, now: datetime, probe: bool) -> tuple[str, ...]:
    policy, live = row.managed.policy, row.standing.live
    facts = live.facts if live and not live.placeholder else None
    names = facts.names if facts else policy.names
    shown = names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else "-"
    targets = ", ".join(
        f"{target['name']}: {target_words(target)}" for target in targets_of(row, probe=probe)
    )
    return (
        policy.name,
        state_of(row, now=now),
        stamp(facts.not_after) if facts else "-",
        span(facts.not_after - now) if facts else "-",
        stamp(next_of(row, now=now)),
        str(live.number) if live else "-",
        targets or "-",
        shown,
        "; ".join(words for words in (why_of(row), missed_chain(live, policy)) if words),
    )


def _is_well(shown: Sequence[str]) -> bool:
    """Whether there is no reason to say more of a certificate than where it stands."""
    _, state, *_, targets, _, why = shown
    if NOT_OFFERED in why:
        return False
    told = targets.split(", ") if targets != "-" else []
    return state in ("ok", "disabled") and all(each.endswith((": ok", "no probe")) for each in told)


def _plan_json(row: Row, *, now: datetime) -> dict[str, Any]:
    decision = row.decision
    steps: list[str] = []
    if row.flight is not None:
        steps = [FINISH]
    elif decision is not None and row.held is None and not isinstance(decision, Wait):
        from certrotd.certs.wiring.foresight import steps_of  # loads what rotating needs

        steps = steps_of(row, decision)
    kind = decision.act if decision else "-"
    return {
        "kind": row.managed.policy.id.kind,
        "name": row.managed.policy.name,
        "decision": "postponed" if row.held is not None else kind,
        "at": next_of(row, now=now),
        "why": why_of(row),
        "reason_code": code_of(row),
        "in_flight": flight_of(row.flight),
        "held": held_of(row.held),
        "steps": steps,
    }
