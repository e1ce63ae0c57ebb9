"""``certrotd watch``: everything that is watched, looked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

from certrotd.cli.output import print_json, print_table, span, stamp
from certrotd.cli.warned import logging_in_lines
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import Site, open_site
from certrotd.lifecycle.finding import EarlierLooks, Watched
from certrotd.lifecycle.wing import Check
from certrotd.rotation.unexpected import as_failure

THREADS = 16
TIMES = 3
PAUSE = 1.0


def watch(config: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Carry out ``certrotd watch``; the exit code: 1 if anything is wrong."""
    with (
        logging_in_lines(),
        open_site(config, clock=SystemClock(), command="certrotd watch") as site,
    ):
        found = list(_looked_at(site, names))
        now = site.clock.now()
    if as_json:
        print_json([each.to_json() for each in found])
    else:
        columns = ("WATCHED", "SORT", "EXPIRES", "LEFT", "FOUND")
        print_table(columns, [_row(each, now=now) for each in found])
    return 1 if any(each.findings for each in found) else 0


def _looked_at(site: Site, names: Sequence[str]) -> Iterator[Watched]:
    """Everything, or what is about subjects of these names, in the configuration's order."""
    chosen = {subject.id for subject in site.inventory.chosen(names)}
    checks = [check for wing in site.wings for check in wing.checks()]
    wanted = [check for check in checks if not names or check.about in chosen]
    with ThreadPoolExecutor(max(1, min(THREADS, len(wanted)))) as pool:
        for settled in pool.map(partial(_settled, pause=site.clock.sleep), wanted):
            yield from settled


def _settled(check: Check, *, pause: Callable[[float], None]) -> list[Watched]:
    try:
        return surely(check, pause=pause)
    except Exception as error:  # noqa: BLE001  # a defect in one look hides no other finding
        return [check.failed(as_failure(error, f"watch {check.label}"))]


def surely(check: Check, *, pause: Callable[[float], None]) -> list[Watched]:
    """What to report after one look, or several where the first might mislead."""
    held: dict[str, EarlierLooks] = {}
    for turn in range(TIMES):
        if turn:
            pause(PAUSE)
        settled = [
            each.settle(held.get(each.watched.key, EarlierLooks()), most=TIMES)
            for each in check.look()
        ]
        held = {each.watched.key: each.held for each in settled}
        if not any(each.watched.unsure for each in settled):
            break
    return [each.watched for each in settled]


def _row(watched: Watched, *, now: datetime) -> tuple[str, ...]:
    end = watched.not_after
    return (
        watched.key,
        watched.sort,
        stamp(end),
        span(end - now) if end else "-",
        "; ".join(f"{each.severity}: {each.words}" for each in watched.findings) or "ok",
    )
