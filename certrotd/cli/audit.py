"""``certrotd audit``: show the log of what was done, prove it whole, hand all of it out."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from certrotd.audit.record import AuditRecord, parse
from certrotd.cli.output import print_json, print_table, say
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import Site, open_site
from certrotd.errors import UsageError, one_line
from certrotd.wording import count


def show(config: Path, name: str | None, *, last: int, as_json: bool) -> int:
    """Carry out ``certrotd audit show``; the exit code."""
    with (
        open_site(config, clock=SystemClock(), command="certrotd audit show") as site,
        site.audit.snapshot() as snapshot,
    ):
        subjects = _subjects(site, name) if name else None
        shown: deque[AuditRecord] = deque(maxlen=min(last, sys.maxsize))
        unreadable = 0
        for line in snapshot.lines():
            record = parse(line)
            if record is None:
                unreadable += 1
            elif subjects is None or record.subject in subjects:
                shown.append(record)
    if unreadable:
        say(f"not a record: {count(unreadable, 'line')}; see certrotd audit verify")
    if name is not None and not shown:
        say(f"no record is about {name!r}")
    if as_json:
        print_json([record.to_json() for record in shown])
        return 0
    rows = [
        (
            str(record.seq),
            f"{record.at[:19]}Z",
            record.event,
            one_line(record.subject),
            one_line(record.rotation) or "-",
            _words(record.details),
        )
        for record in shown
    ]
    print_table(("SEQ", "AT", "EVENT", "SUBJECT", "ROTATION", "DETAILS"), rows)
    return 0


def verify(config: Path, *, as_json: bool) -> int:
    """Carry out ``certrotd audit verify``; the exit code is 1 if the log is broken."""
    with open_site(config, clock=SystemClock(), command="certrotd audit verify") as site:
        verdict = site.audit.verify()
    broken, head = verdict.broken, verdict.head
    if as_json:
        print_json(
            {
                "whole": broken is None,
                "records": head.seq,
                "hash": head.hash,
                "notes": list(verdict.notes),
                "broken": {"seq": broken.seq, "what": broken.what, "why": broken.why}
                if broken
                else None,
            }
        )
        return 1 if broken else 0
    for note in verdict.notes:
        say(f"note: {one_line(note)}")
    if broken:
        say(f"the audit log is broken: {one_line(str(broken))}")
        return 1
    say(f"the audit log is intact: {count(head.seq, 'record')}, head {head.hash}", sys.stdout)
    return 0


def export(config: Path) -> int:
    """Carry out ``certrotd audit export``; the exit code."""
    with (
        open_site(config, clock=SystemClock(), command="certrotd audit export") as site,
        site.audit.snapshot() as snapshot,
    ):
        for line in snapshot.lines():
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    return 0


def _subjects(site: Site, name: str) -> frozenset[str]:
    """What the records call the subject of that name; an older certrotd wrote the name alone.

    What is not configured any more has records too, and so has what is no subject.
    """
    try:
        [subject] = site.inventory.chosen([name])
    except UsageError:
        plain = name.rpartition("/")[2]
        return frozenset({name, plain, *(f"{kind}/{plain}" for kind in site.kinds)})
    return frozenset({subject.id.name, str(subject.id)})


def _words(details: Mapping[str, Any]) -> str:
    return one_line(", ".join(f"{name}: {_text(value)}" for name, value in details.items()))


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
