"""The page of one subject: what it is, who uses it, and what became of its rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certrotd.daemon.http.request import RequestRefused
from certrotd.daemon.http.sources import Sources
from certrotd.daemon.http.subject_view import SubjectView
from certrotd.daemon.http.templates import render
from certrotd.daemon.http.time_format import span
from certrotd.id import Id
from certrotd.rotation.outcome import remark_of

HISTORY = 30


@dataclass(frozen=True)
class Past:
    """One rotation that has ended; ``failure`` is empty if it went well."""

    ended: datetime | None
    outcome: str
    took: str
    why: str
    failure: str


def subject_page(sources: Sources, subject: Id) -> str:
    """The page of ``subject``; raises RequestRefused if there is none."""
    snapshot, now = sources.board.snapshot(), sources.clock.now()
    view = next(sources.views([subject]), None) if subject in snapshot.known else None
    if view is None:
        raise RequestRefused(404, f"there is no {subject.kind} {subject.name!r}")
    known = snapshot.known[subject]
    return render(
        "subject.html.j2",
        title=f"{subject.name} · certrotd",
        now=now,
        one=SubjectView(snapshot, subject, view, now),
        generation=view.found.version,
        details=view.found.details(),
        flight=known.flight if known else None,
        watched=[seen for seen in snapshot.watched if seen.about == subject],
        history=[_past(line) for line in reversed(view.subject.history.lines()[-HISTORY:])],
    )


def _past(line: Mapping[str, Any]) -> Past:
    """One line of history, which is read as it is: whoever wrote it may have been another."""
    began, ended = _moment(line.get("began")), _moment(line.get("ended"))
    facts, failure = line.get("facts"), ""
    if line.get("failure"):
        remark = remark_of(facts) if isinstance(facts, Mapping) else ""
        said = f"{line.get('failed_step', '')}: {line['failure']}"
        failure = f"{said}; {remark}" if remark else said
    return Past(
        ended=ended,
        outcome=str(line.get("outcome", "–")),
        took=_took((ended - began).total_seconds() if began and ended else None),
        why=str(line.get("why", "")),
        failure=failure,
    )


def _took(seconds: float | None) -> str:
    if seconds is None or seconds < 0:  # the clock was set back meanwhile
        return "–"
    return span(seconds) if seconds >= 1 else "under a second"


def _moment(text: object) -> datetime | None:
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return read if read.tzinfo else None
