"""A rotation in flight, as listings show it: read from its journal, which is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from certrotd.errors import Failure
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.recovery import JournalRecord, checkpoint_of
from certrotd.rotation.step import Checkpoint
from certrotd.wording import span


@dataclass(frozen=True, slots=True)
class Flight:
    """A rotation that has begun and has not come to its end.

    ``step`` is what it is at ("" before the first), going back if ``undoing``. ``why`` it does not
    go on, "" while nothing keeps it; it goes on at ``until``, where that is known. ``tries`` of
    this step failed in a row, the last ``at`` that time. ``since`` is None if its journal cannot
    be understood.
    """

    step: str = ""
    since: datetime | None = None
    why: str = ""
    until: datetime | None = None
    tries: int = 0
    at: datetime | None = None
    undoing: bool = False
    checkpoint: Checkpoint | None = None

    def __str__(self) -> str:
        """All of it in a sentence."""
        began = f"in flight since {self.since:%Y-%m-%d %H:%M}Z" if self.since else "in flight"
        step = f"{'undoing ' if self.undoing else ''}{self.step}"
        if not self.why and self.checkpoint is not None:
            return f"{step}: {progress_words(self.checkpoint)} ({began})"
        if not self.why:
            step = f"{step} is" if self.step else "it is"
            return f"{began}: {step} running, or waits for the next run"
        failed = f", failed {self.tries} times" if self.tries > 1 else ""
        return f"{step}: {self.why} ({began}{failed})" if step else f"{self.why} ({began})"


class Peeked(Protocol):
    """A journal that is looked at while it may be in use."""

    def peek(self) -> Sequence[JournalRecord] | None: ...


def flight_in(journal: Peeked) -> Flight | None:
    """The rotation in flight of this journal, None without one; raises DiskTrouble."""
    try:
        records = journal.peek()
    except DiskTrouble:
        raise
    except Failure as failure:  # it is there, and nobody can go on with it
        return Flight(why=str(failure))
    return None if records is None else flight_of(records)


def progress_words(checkpoint: Checkpoint) -> str:
    """How far a step has come, how fast it is, and how long it takes still."""
    total, rate, left = checkpoint.total, checkpoint.rate, checkpoint.left
    words = f"{checkpoint.done:,}"
    if total:
        words += f" of {total:,} ({100 * checkpoint.done // total} %)"
    if rate is not None:
        words += f", {rate:,.{0 if rate >= 10 else 1}f}/s"
    if left is not None:
        words += f", {span(left)} left"
    advice = checkpoint.kept.get("advice")
    return f"{words}; {advice}" if isinstance(advice, str) else words


def flight_of(records: Sequence[JournalRecord]) -> Flight:
    """Where the rotation of these journal records stands; without any it has only just begun."""
    if not records:
        return Flight()
    begin, *rest = records
    try:
        titles = [str(item.get("savepoint") or item["kind"]) for item in begin["plan"]]
        flight, index = Flight(since=datetime.fromisoformat(begin["at"])), -1
        for record in rest:
            if record.get("i", index) != index:
                index = int(record["i"])
                flight = Flight(titles[index], flight.since, undoing=flight.undoing)
            flight = _after(flight, record)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        return Flight(why=f"its journal cannot be understood: {type(error).__name__}: {error}")
    return flight


def _after(flight: Flight, record: JournalRecord) -> Flight:
    step, since = flight.step, flight.since
    why = str(record.get("why") or "").removeprefix(f"{step}: ")
    at = datetime.fromisoformat(record["at"]) if "at" in record else None
    match record["t"]:
        case "wait":
            tries = flight.tries + 1 if record.get("failed") else 0
            until = datetime.fromisoformat(record["until"])
            return replace(flight, why=why, until=until, tries=tries, at=at)
        case "paused" if why:
            return replace(flight, why=why, until=None, tries=flight.tries + 1, at=at)
        case "checkpoint":
            return replace(flight, checkpoint=checkpoint_of(record), tries=0)
        case "failed":
            return Flight(step, since, why, at=at, undoing=True)
        case "stuck":
            return Flight(step, since, why, tries=flight.tries + 1, at=at, undoing=True)
        case "done" | "reached" | "undone" | "lost":
            return Flight(step, since, undoing=flight.undoing)
        case _:
            return flight
