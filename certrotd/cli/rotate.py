"""``certrotd rotate``, ``certrotd rollback`` and ``certrotd cancel``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.certs.inventory import Inventory, Row
from certrotd.certs.managed import Managed
from certrotd.certs.rotate import Rotator
from certrotd.certs.rules import decide
from certrotd.cli.live import view
from certrotd.cli.output import print_json, print_table, say
from certrotd.cli.reports import report_json, report_words
from certrotd.cli.status import FINISH
from certrotd.cli.warned import logging_in_lines
from certrotd.daemon.stopping import Stopping
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import Failure
from certrotd.lifecycle.decision import Decision
from certrotd.lifecycle.report import Report
from certrotd.reporting.status import flight_of
from certrotd.rotation.engine import Event
from certrotd.rotation.unexpected import as_failure


def rotate(
    config: Path,
    names: Sequence[str],
    *,
    force: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool = False,
) -> int:
    """Carry out ``certrotd rotate``; the exit code.

    ``quiet``: what is not due is not listed, and of the steps only failures are told.
    """
    stopping = Stopping()
    command = "certrotd rotate"
    how = {"forced": force, "by_hand": True, "named": bool(names)}
    with open_site(
        config, clock=stopping.clock, command=command, listen=say, dry=dry_run, writes=True
    ) as site:
        chosen = site.inventory.chosen(names)
        if dry_run:
            return _dry_run(site, chosen, how, as_json=as_json)
        site.prepare()
        _outlive_terminal()
        stopping.listen()
        with logging_in_lines(), view(len(chosen), quiet=quiet) as live:
            rotator = _rotator(site, stopping, live.hear)
            reports = list(site.inventory.rotate(chosen, rotator, **how))
        if quiet:
            reports = [report for report in reports if _is_news(report)]
        return _show(reports, chosen, as_json=as_json)


def _is_news(report: Report) -> bool:
    return report.failed or report.outcome is not None or report.recovered is not None


def rollback(config: Path, name: str, *, to: int | None, as_json: bool) -> int:
    """Carry out ``certrotd rollback``; the exit code."""
    return _of_one(config, name, "rollback", partial(Rotator.rollback, to=to), as_json=as_json)


def cancel(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd cancel``; the exit code."""
    return _of_one(config, name, "cancel", Rotator.cancel, as_json=as_json)


def _of_one(
    config: Path,
    name: str,
    command: str,
    act: Callable[[Rotator, Managed], Report],
    *,
    as_json: bool,
) -> int:
    stopping = Stopping()
    with open_site(
        config, clock=stopping.clock, command=f"certrotd {command}", listen=say, writes=True
    ) as site:
        [managed] = site.inventory.chosen([name])
        site.prepare()
        _outlive_terminal()
        stopping.listen()
        with logging_in_lines(), view(1) as live:
            report = act(_rotator(site, stopping, live.hear), managed)
        return _show([report], [managed], as_json=as_json)


def _outlive_terminal() -> None:
    """A terminal that is closed takes the view away, not the rotation.

    By a handler, because what a program ignores its children ignore too; nohup is left as it is.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def _rotator(site: Site, stopping: Stopping, hear: object) -> Rotator:
    def listen(event: Event) -> None:
        hear(event)  # type: ignore[operator]  # narrowed by View.hear

    return Rotator(
        clock=stopping.clock,
        draw=site.draw,
        new_id=site.new_id,
        listen=listen,
        stopping=stopping,
        audit=site.audit,
    )


def _show(reports: Iterable[Report], chosen: Sequence[Managed], *, as_json: bool) -> int:
    order = {managed.policy.id: i for i, managed in enumerate(chosen)}
    ordered = sorted(reports, key=lambda report: order[report.subject])
    if as_json:
        print_json([report_json(report) for report in ordered])
    else:
        rows = [(report.subject.name, *report_words(report)) for report in ordered]
        if not rows:
            return 0
        print_table(("NAME", "RESULT", "WHY"), rows)
    return 1 if any(report.failed for report in ordered) else 0


def _dry_run(
    site: Site, chosen: Sequence[Managed], how: Mapping[str, bool], *, as_json: bool
) -> int:
    """What rotate would decide, and everything that it would fail for; changes nothing."""
    now, everywhere, results = site.clock.now(), list(site.problems()), []
    for row in Inventory(chosen, 1).look(chosen, now=now, in_flight=site.in_flight):
        decision, found = row.decision, [*everywhere, *([row.failure] if row.failure else [])]
        if decision is not None:
            decision = decide(row.managed.policy, row.standing, row.attempts, now=now, **how)
            found += _problems(site, row, decision)
        results.append(
            {
                "kind": row.managed.policy.id.kind,
                "name": row.managed.policy.name,
                "decision": decision.act if decision else None,
                "reason": _reason(row, decision, forced=how["forced"]),
                "in_flight": flight_of(row.flight),
                "problems": [str(problem) for problem in found],
            }
        )
    if as_json:
        print_json(results)
    else:
        print_table(("NAME", "WOULD", "WHY"), [row for each in results for row in _rows(each)])
        say("dry run: nothing was changed")
    return 1 if any(result["problems"] for result in results) else 0


def _rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A line for each problem of a certificate; without any, the one of what would be done."""
    name = str(result["name"])
    if result["problems"]:
        return [(name, "fail", problem) for problem in result["problems"]]
    would = "finish" if result["in_flight"] else str(result["decision"])
    return [(name, would, str(result["reason"]))]


def _reason(row: Row, decision: Decision | None, *, forced: bool) -> str | None:
    """Why what would be done would be; what is in flight comes first."""
    if row.flight is None or decision is None:
        return decision.why if decision else None
    then = f"; then {decision.act}: {decision.why}" if forced else ""
    return f"{FINISH}: {row.flight}{then}"


def _problems(site: Site, row: Row, decision: Decision) -> list[Failure]:
    """Everything that what was decided would fail for; of what is not due, what is seen by now."""
    from certrotd.certs.wiring.foresight import problems_of

    found: list[Failure] = []
    try:
        for problem in problems_of(row, decision, awaiting=site.awaiting):
            found.append(problem)  # what is found before an error counts
    except (Failure, OSError) as error:
        found.append(as_failure(error, "check what it needs"))
    return list({str(each): each for each in found}.values())
