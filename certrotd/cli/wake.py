"""``certrotd wake``: what a rotation waits for has come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from certrotd.cli.output import names_of, print_json, print_table, say
from certrotd.clock import SystemClock
from certrotd.daemon.wiring import open_site
from certrotd.lifecycle.subject import Subject
from certrotd.rotation.flight import flight_in


def wake(config: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Carry out ``certrotd wake``; the exit code. Raises DiskTrouble.

    It takes no lock of a subject, for the daemon may be rotating it.
    """
    with open_site(config, clock=SystemClock(), command="certrotd wake") as site:
        chosen = site.inventory.chosen(names)
        where = "state" if site.home.shared else "state directory"
        found = [_found(subject) for subject in chosen]
        runs = site.home.daemon_runs(subject.id for subject in chosen)
        for subject in chosen:
            site.state.wake(str(subject.id))
    if as_json:
        print_json(found)
    else:
        called = names_of([subject.id for subject in chosen])
        rows = [
            (name, "yes" if each["woken"] else "no", each["why"])
            for name, each in zip(called, found, strict=True)
        ]
        print_table(("NAME", "WOKEN", "WHY"), rows)
    if not runs:
        waiting = [f"{each['kind']}/{each['name']}" for each in found if each["woken"]]
        then = f"certrotd rotate {' '.join(waiting)} continues {'them' if waiting[1:] else 'it'}"
        say(
            f"no daemon runs on this {where}: "
            + (then if waiting else "the next one looks when it starts")
        )
    return 0


def _found(subject: Subject) -> dict[str, Any]:
    """Whether there is a rotation to be woken, and what it waits for."""
    flight = flight_in(subject.journal)
    return {
        "kind": subject.id.kind,
        "name": subject.id.name,
        "woken": flight is not None,
        "why": str(flight or "no rotation is in flight; the daemon looks all the same"),
    }
