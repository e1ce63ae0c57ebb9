"""``certrotd status`` and ``certrotd plan``: where every subject stands, and what is next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.cli.output import keeping_all, names_of, print_json, print_table, say, span, stamp
from certrotd.daemon.wiring import looking
from certrotd.lifecycle.decision import Action
from certrotd.lifecycle.view import View, flight_json, held_json

if TYPE_CHECKING:
    from certrotd.lifecycle.details import Consumer

FINISH = "finish what is in flight"
_COLUMNS = ("NAME", "STATE", "EXPIRES", "LEFT", "NEXT", "GEN", "TARGETS", "NAMES", "WHY")


def status(config: Path, names: Sequence[str], *, probe: bool, as_json: bool) -> int:
    """Carry out ``certrotd status``; the exit code."""
    with keeping_all(), looking(config, "certrotd status") as site:
        views = list(site.look(site.inventory.chosen(names)))
        if as_json:
            print_json([view.to_json(ask=probe) for view in views])
        else:
            _print_status(views, probe=probe)
        if blocked := site.unwritable():
            say(f"error: {blocked}")
        return 1 if blocked or any(view.failure for view in views) else 0


def plan(config: Path, names: Sequence[str], *, explained: bool, as_json: bool) -> int:
    """Carry out ``certrotd plan``; the exit code."""
    with keeping_all(), looking(config, "certrotd plan") as site:
        views = list(site.look(site.inventory.chosen(names)))
        plans = [_plan_json(view) for view in views]
        if explained:
            for each, view in zip(plans, views, strict=True):
                each["rules"] = [asdict(tried) for tried in view.explain()]
        if as_json:
            print_json(plans)
        else:
            _print_plans(plans, names_of([view.id for view in views]), explained=explained)
        return 1 if any(view.failure for view in views) else 0


def _print_status(views: Sequence[View], *, probe: bool) -> None:
    shown, well = [], set()
    called = names_of([view.id for view in views])
    for view, name in zip(views, called, strict=True):
        consumers = view.found.consumers(ask=probe)
        remark = view.found.remark
        row = _status_row(view, name, consumers, remark)
        shown.append(row)
        calm = row[1] in ("ok", "disabled") and not remark
        if calm and all(each.current or each.unproven for each in consumers):
            well.add(row)
    print_table(_COLUMNS, shown, well=lambda row: tuple(row) in well)


def _status_row(
    view: View, name: str, consumers: Sequence[Consumer], remark: str
) -> tuple[str, ...]:
    found, validity = view.found, view.found.validity
    names = found.names
    shown = names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else "-"
    return (
        name,
        view.state,
        stamp(validity.not_after) if validity else "-",
        span(validity.not_after - view.now) if validity else "-",
        stamp(view.next),
        str(found.version or "-"),
        ", ".join(f"{each.name}: {each.words}" for each in consumers) or "-",
        shown,
        f"{view.why}; {remark}" if remark else view.why,
    )


def _print_plans(
    plans: Sequence[dict[str, Any]], called: Sequence[str], *, explained: bool
) -> None:
    table = [
        (name, p["decision"], stamp(p["at"]), ", ".join(p["steps"]) or "-", p["why"])
        for p, name in zip(plans, called, strict=True)
    ]
    print_table(("NAME", "DECISION", "AT", "STEPS", "WHY"), table)
    for each, name in zip(plans, called, strict=True) if explained else ():
        rules = [
            (name, rule["code"], "yes" if rule["matched"] else "no", rule["why"])
            for rule in each["rules"]
        ]
        print_table(("NAME", "RULE", "MATCHES", "WHY"), rules)


def _plan_json(view: View) -> dict[str, Any]:
    decision = view.decision
    steps: list[str] = []
    if view.flight is not None:
        steps = [FINISH]
    elif isinstance(decision, Action) and view.held is None:
        steps = list(view.found.steps())  # loads what rotating needs
    act = decision.act if decision else "-"
    return {
        "kind": view.id.kind,
        "name": view.id.name,
        "decision": "postponed" if view.held is not None else act,
        "at": view.next,
        "why": view.why,
        "reason_code": view.code,
        "in_flight": flight_json(view.flight),
        "held": held_json(view.held),
        "steps": steps,
    }
