"""``certrotd watch``: everything that is watched, looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

from certrotd.certs.checks import Subject, Watches, surely, watches_of
from certrotd.cli.output import print_json, print_table, span, stamp
from certrotd.cli.warned import logging_in_lines
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import Site, open_site
from certrotd.lifecycle.finding import Watched
from certrotd.rotation.unexpected import as_failure
from certrotd.watching.watcher import label_of

THREADS = 16


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
    """Everything, or what is about certificates of these names, in the configuration's order."""
    chosen = {managed.policy.id: managed for managed in site.inventory.chosen(names)}
    called = {subject.name for subject in chosen}
    watches = watches_of(site.config, chosen, in_flight=site.in_flight, clock=site.clock)
    entries = [each for each in watches.entries if not names or each.certificate in called]
    subjects: list[Subject] = [*entries, *chosen]
    look = partial(_settled, watches, site)
    with ThreadPoolExecutor(max(1, min(THREADS, len(subjects)))) as pool:
        for settled in pool.map(look, subjects):
            yield from settled


def _settled(watches: Watches, site: Site, subject: Subject) -> list[Watched]:
    try:
        settled = surely(partial(watches.look, subject), pause=site.clock.sleep)
    except Exception as error:  # noqa: BLE001  # a defect in one look hides no other finding
        return [watches.failed(subject, as_failure(error, f"watch {label_of(subject)}"))]
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
