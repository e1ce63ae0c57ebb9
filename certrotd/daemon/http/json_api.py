"""``/status.json``: the same for programs, subjects as ``certrotd status --json`` has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from certrotd import __version__
from certrotd.daemon.http.filters import filters_of, matching
from certrotd.daemon.http.sources import Around, Sources, look_around
from certrotd.errors import Failure
from certrotd.reporting.snapshot import Snapshot, moment


def status_json(sources: Sources, query: dict[str, str]) -> Iterator[str]:
    """The document in pieces; ``state`` and ``name`` choose as on the page, all at once."""
    around = look_around(sources)
    names = matching(sources, around.snapshot, filters_of(query))
    beginning = _dumped(_daemon(around, now=sources.clock.now()))
    yield f'{beginning.removesuffix("}")}, "subjects": ['
    separator = "\n"
    for view in sources.views(names):
        yield f"{separator}{_dumped(view.to_json())}"
        separator = ",\n"
    yield "\n]}\n"


def _daemon(around: Around, *, now: datetime) -> dict[str, Any]:
    snapshot = around.snapshot
    return {
        "version": __version__,
        "now": now,
        "ready": not around.unready,
        "reason": around.unready or None,
        "shard": {"number": around.shard.number, "of": around.shard.of},
        "last_tick": _moment(snapshot.last_tick),
        "next_check": _moment(snapshot.next_look()),
        "clock": {
            "trust": snapshot.judgement.trust.value,
            "reason": snapshot.judgement.why or None,
        },
        "config": {
            "valid": snapshot.configured.valid,
            "in_force_since": moment(snapshot.configured.since),
            "refused": snapshot.configured.refused,
            "left_out": snapshot.configured.left_out,
        },
        "audit": _audit(around),
        "budget_left": {
            account: None if isinstance(left, Failure) else left
            for account, left in around.budgets.items()
        },
        "troubles": {str(what): why for what, why in snapshot.troubles.items()},
        "states": snapshot.count(),
        "failing": [str(each) for each in sorted(filter(snapshot.failing, snapshot.known))],
        "attempts_left": _attempts(snapshot),
        "watched": [seen.to_json() for seen in snapshot.watched],
    }


def _audit(around: Around) -> dict[str, Any]:
    if isinstance(around.audit, Failure):
        return {"state": "unreadable", "seq": None, "hash": None}
    head = around.audit.known
    return {
        "state": around.audit.state,
        "seq": head.seq if head else None,
        "hash": head.hash if head else None,
    }


def _attempts(snapshot: Snapshot) -> dict[str, int]:
    left = ((subject, snapshot.attempts_left(subject)) for subject in snapshot.known)
    return {str(subject): attempts for subject, attempts in left if attempts is not None}


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def _dumped(value: object) -> str:
    return json.dumps(value, default=datetime.isoformat)
