"""``certrotd rotate``, ``certrotd rollback`` and ``certrotd cancel``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from certrotd.cli.live import progress_of
from certrotd.cli.output import names_of, print_json, print_table, say
from certrotd.cli.reports import report_json, report_words
from certrotd.cli.status import FINISH
from certrotd.cli.warned import logging_in_lines
from certrotd.clock import Deadline
from certrotd.config.durations import parse
from certrotd.daemon.stopping import Stopping
from certrotd.daemon.wiring import Site, open_site, waits_for
from certrotd.errors import Failure, InvalidInput, LockHeld, UsageError
from certrotd.id import Id
from certrotd.lifecycle.decision import Asked, Decision
from certrotd.lifecycle.inventory import look_at_all
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from certrotd.lifecycle.subject import Reversible, Subject
from certrotd.lifecycle.view import View, flight_json
from certrotd.rotation.outcome import Stopped
from certrotd.rotation.unexpected import as_failure

POLL = 1.0


def rotate(
    config: Path,
    names: Sequence[str],
    *,
    force: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool = False,
    wait: str = "10s",
) -> int:
    """Carry out ``certrotd rotate``; the exit code.

    ``quiet``: lists only what was due, and only the steps that failed. ``wait``: how long those
    are tried again that another process works on, such as 5m.
    """
    stopping, patience = Stopping(), _patience(wait)
    command = "certrotd rotate"
    asked = Asked(forced=force, by_hand=True, named=bool(names))
    with open_site(
        config,
        clock=stopping.clock,
        command=command,
        listen=say,
        dry=dry_run,
        writes=True,
        lock_patience=0.0,  # others that were chosen are rotated meanwhile
    ) as site:
        chosen = site.inventory.with_followers(site.inventory.chosen(names))
        if dry_run:
            return _dry_run(site, chosen, asked, as_json=as_json)
        site.prepare()
        outlive_terminal()
        stopping.listen()
        with logging_in_lines(), progress_of(len(chosen), quiet=quiet) as live:
            runner = site.runner(live.hear, stopping)
            reports = list(site.inventory.rotate(chosen, runner, asked))
            deadline, heard = Deadline(stopping.clock, patience.total_seconds()), set[Id]()
            while (held := _held(reports)) and not stopping() and not deadline.passed:
                with suppress(Stopped):
                    deadline.pause(POLL)
                again = [each for each in chosen if each.id in held]
                reports = [each for each in reports if each.subject not in held]
                reports += site.inventory.rotate(again, runner, asked)
                for each in set(held := _held(reports)) - heard:
                    say(waits_for(held[each], deadline.remaining))
                    heard.add(each)
        if quiet:
            reports = [report for report in reports if _is_news(report)]
        return _show(reports, chosen, as_json=as_json)


def _patience(wait: str) -> timedelta:
    try:
        return parse(wait)
    except InvalidInput as error:
        raise UsageError(f"--wait: {error.message}", hint=error.hint) from None


def _held(reports: Iterable[Report]) -> Mapping[Id, LockHeld]:
    """The subjects that another process works on."""
    return {each.subject: each.failure for each in reports if isinstance(each.failure, LockHeld)}


def _is_news(report: Report) -> bool:
    return report.failed or report.outcome is not None or report.recovered is not None


def rollback(config: Path, name: str, *, to: int | None, as_json: bool) -> int:
    """Carry out ``certrotd rollback``; the exit code."""

    def act(subject: Subject, runner: Runner) -> Report:
        if isinstance(subject, Reversible):
            return subject.rollback(runner, to)
        raise UsageError(
            f"a {subject.id.kind} has no earlier generations to go back to",
            hint=f"certrotd cancel {subject.id} undoes a rotation in flight",
        )

    return of_one(config, name, "rollback", act, as_json=as_json)


def cancel(config: Path, name: str, *, as_json: bool) -> int:
    """Carry out ``certrotd cancel``; the exit code."""
    return of_one(
        config, name, "cancel", lambda subject, runner: subject.cancel(runner), as_json=as_json
    )


def of_one(
    config: Path,
    name: str,
    command: str,
    act: Callable[[Subject, Runner], Report],
    *,
    as_json: bool,
) -> int:
    """Do ``act`` to the subject of that name as the ``command``; the exit code."""
    stopping = Stopping()
    with open_site(
        config, clock=stopping.clock, command=f"certrotd {command}", listen=say, writes=True
    ) as site:
        [subject] = site.inventory.chosen([name])
        site.prepare()
        outlive_terminal()
        stopping.listen()
        with logging_in_lines(), progress_of(1) as live:
            report = act(subject, site.runner(live.hear, stopping))
        return _show([report], [subject], as_json=as_json)


def outlive_terminal() -> None:
    """A terminal that is closed takes the view away, not the rotation.

    By a handler, because what a program ignores its children ignore too; nohup is left as it is.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)


def _show(reports: Iterable[Report], chosen: Sequence[Subject], *, as_json: bool) -> int:
    order = {subject.id: i for i, subject in enumerate(chosen)}
    ordered = sorted(reports, key=lambda report: order[report.subject])
    if as_json:
        print_json([report_json(report) for report in ordered])
    else:
        called = names_of([report.subject for report in ordered])
        rows = [(name, *report_words(each)) for name, each in zip(called, ordered, strict=True)]
        if not rows:
            return 0
        print_table(("NAME", "RESULT", "WHY"), rows)
    return 1 if any(report.failed for report in ordered) else 0


def _dry_run(site: Site, chosen: Sequence[Subject], asked: Asked, *, as_json: bool) -> int:
    """What rotate would decide, and everything that it would fail for; changes nothing."""
    now, everywhere, results = site.clock.now(), list(site.problems()), []
    views = list(look_at_all(chosen, now=now, in_flight=site.in_flight))
    for each in views:
        decision, found = each.decision, [*everywhere, *([each.failure] if each.failure else [])]
        if decision is not None:
            decision = each.found.decide(asked, now=now)
            found += _problems(each, decision)
        results.append(
            {
                "kind": each.id.kind,
                "name": each.id.name,
                "decision": decision.act if decision else None,
                "reason": _reason(each, decision, forced=asked.forced),
                "in_flight": flight_json(each.flight),
                "problems": [str(problem) for problem in found],
            }
        )
    if as_json:
        print_json(results)
    else:
        called = names_of([each.id for each in views])
        shown = zip(called, results, strict=True)
        print_table(("NAME", "WOULD", "WHY"), [row for pair in shown for row in _rows(*pair)])
        say("dry run: nothing was changed")
    return 1 if any(result["problems"] for result in results) else 0


def _rows(name: str, result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """A line for each problem of a subject; without any, the one of what would be done."""
    if result["problems"]:
        return [(name, "fail", problem) for problem in result["problems"]]
    would = "finish" if result["in_flight"] else str(result["decision"])
    return [(name, would, str(result["reason"]))]


def _reason(view: View, decision: Decision | None, *, forced: bool) -> str | None:
    """Why what would be done would be; what is in flight comes first."""
    if view.flight is None or decision is None:
        return decision.why if decision else None
    then = f"; then {decision.act}: {decision.why}" if forced else ""
    return f"{FINISH}: {view.flight}{then}"


def _problems(view: View, decision: Decision) -> list[Failure]:
    """Everything that what was decided would fail for; of what is not due, what is seen by now."""
    found: list[Failure] = []
    try:
        for problem in view.found.problems(decision, view.flight):
            found.append(problem)  # what is found before an error counts
    except (Failure, OSError) as error:
        found.append(as_failure(error, "check what it needs"))
    return list({str(each): each for each in found}.values())
