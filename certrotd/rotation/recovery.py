"""Where a rotation stands and what comes next: pure functions of its journal.

There is no separate path for recovery. A fresh rotation is a journal with a begin record, a
crashed one is a journal that stops somewhere, a parked one ends with a wait: each is read the
same way and answered with one move.

The invariant: a step is tried only after its intent is in the journal, and everything tried after
the last savepoint is undone, latest first, before a failed rotation is closed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from certrotd.rotation.step import JSON, Checkpoint, Savepoint

JournalRecord = Mapping[str, Any]
MAX_INTERRUPTIONS = 3


class Status(Enum):
    """How far one item of the plan has come."""

    UNTRIED = "untried"
    TRIED = "tried"
    WAITING = "waiting"
    DONE = "done"
    LOST = "lost"


@dataclass(frozen=True)
class Failed:
    """Why a rotation goes backwards: the step ``at`` which it failed, and the words for it.

    ``stopped``: it did not fail, the process was told to stop.
    """

    at: int
    why: str
    when: str
    retry_after: float | None = None
    stopped: bool = False


@dataclass(frozen=True)
class Progress:
    """A journal folded into what matters for the next move; ``items`` as the plan's."""

    items: tuple[Status, ...]
    saved: int = -1
    facts: Mapping[str, JSON] = field(default_factory=dict)
    interruptions: Mapping[int, int] = field(default_factory=dict)
    waiting: tuple[datetime, str] | None = None
    waiting_since: datetime | None = None
    checkpoint: Checkpoint | None = None
    failed: Failed | None = None
    outcome: str | None = None

    def at(self, index: int, status: Status, **changes: Any) -> Progress:
        """This progress with one item's status replaced, and other ``changes``."""
        items = (*self.items[:index], status, *self.items[index + 1 :])
        return self.but(items=items, **changes)

    def but(self, **changes: Any) -> Progress:
        """This progress with other ``changes``."""
        # as dataclasses.replace(), in a third of the time: every record of a journal comes by here
        return Progress(**{**vars(self), **changes})

    def survived(self, index: int) -> Mapping[int, int]:
        """The interruptions, without those of a step that has now ended by itself."""
        return {i: count for i, count in self.interruptions.items() if i != index}


@dataclass(frozen=True)
class Act:
    """Do the step at ``index``; ``look_first`` when a crash may have come after the act."""

    index: int
    look_first: bool


@dataclass(frozen=True)
class Reach:
    """Everything before the savepoint at ``index`` holds: say so."""

    index: int


@dataclass(frozen=True)
class Undo:
    """Undo the step at ``index``."""

    index: int


@dataclass(frozen=True)
class GiveUp:
    """Treat the step at ``index`` as failed, because of ``why``."""

    index: int
    why: str


@dataclass(frozen=True)
class Park:
    """Nothing to do before ``until``."""

    until: datetime
    why: str


@dataclass(frozen=True)
class Close:
    """The rotation is over: ``finished``, or rolled back to the savepoint ``to`` ("" is none)."""

    finished: bool
    to: str = ""
    because: str = ""


Move = Act | Reach | Undo | GiveUp | Park | Close


def read_progress(
    records: Iterable[JournalRecord], size: int, facts: Mapping[str, JSON] | None = None
) -> Progress:
    """Fold journal records (after the begin record, which may give ``facts``) of ``size`` items."""
    progress = Progress(items=(Status.UNTRIED,) * size, facts=dict(facts or {}))
    for record in records:
        progress = apply(progress, record)
    return progress


def apply(progress: Progress, record: JournalRecord) -> Progress:
    """This progress after one more record; ValueError for a record of an unknown kind."""
    index = int(record.get("i", -1))
    match record["t"]:
        case "try":
            tries = {**progress.interruptions, index: progress.interruptions.get(index, 0) + 1}
            return progress.at(index, Status.TRIED, interruptions=tries, waiting=None)
        case "note":
            return progress.but(facts={**progress.facts, **record["facts"]})
        case "done":
            facts = {**progress.facts, **record["facts"]}
            counts = progress.survived(index)
            ended: dict[str, Any] = {"interruptions": counts, "checkpoint": None}
            return progress.at(index, Status.DONE, facts=facts, **ended)
        case "checkpoint":
            # what was cut off before has come further since
            counts = progress.survived(index)
            return progress.but(interruptions=counts, checkpoint=checkpoint_of(record))
        case "wait":
            waiting = _moment(record["until"]), record["why"]
            since = _moment(record["at"]) if "at" in record else None
            waits: dict[str, Any] = {"waiting": waiting, "waiting_since": since}
            waits["interruptions"] = progress.survived(index)
            return progress.at(index, Status.WAITING, **waits)
        case "lost":
            # what came after it was built upon it, and is lost with it: done again, or undone
            items = progress.items
            lost = (Status.LOST if i is not Status.UNTRIED else i for i in items[index:])
            return progress.but(items=(*items[:index], *lost), checkpoint=None)
        case "paused":
            # the step ended, though neither done nor failed: this try was not cut off by a crash
            return progress.but(interruptions=progress.survived(index))
        case "reached":
            return progress.at(index, Status.DONE, saved=index)
        case "failed":
            stopped = bool(record.get("stopped"))
            failed = Failed(index, record["why"], record["at"], record.get("retry_after"), stopped)
            return progress.but(failed=failed, waiting=None)
        case "undone":
            return progress.at(index, Status.UNTRIED, checkpoint=None)
        case "stuck":
            return progress  # it is reported and remembered; what comes next is the same undo
        case "end":
            return progress.but(outcome=record["outcome"])
        case other:
            raise ValueError(f"unknown journal record {other!r}")


def perhaps_tried(
    progress: Progress, unannounced: Container[int], savepoints: Mapping[int, Savepoint]
) -> Progress:
    """This progress with what may have been tried after its last record, which a crash cut off.

    That is the run of ``unannounced`` steps at which the journal ends, also past a savepoint that
    is not written down yet, but past none that is forward only. A failure is a durable record, and
    whatever was tried before it is known.
    """
    if progress.failed is not None or progress.outcome is not None:
        return progress
    items = list(progress.items)
    begin = next((i for i, status in enumerate(items) if status is not Status.DONE), len(items))
    if begin < len(items) and items[begin] is not Status.UNTRIED:
        begin += 1
    for index in range(begin, len(items)):
        if index in savepoints and not savepoints[index].forward_only:
            continue
        if index not in unannounced:
            break
        if items[index] is Status.UNTRIED:
            items[index] = Status.TRIED
    return progress.but(items=tuple(items))


def compacted(records: Sequence[JournalRecord]) -> list[JournalRecord]:
    """The same journal without the checkpoints that later ones took the place of."""
    last = max((n for n, each in enumerate(records) if each["t"] == "checkpoint"), default=-1)
    return [each for n, each in enumerate(records) if n == last or each["t"] != "checkpoint"]


def checkpoint_of(record: JournalRecord) -> Checkpoint:
    """What a checkpoint's record says; KeyError, TypeError or ValueError if it is none."""
    total = record["total"]
    return Checkpoint(
        dict(record["kept"]),
        int(record["done"]),
        None if total is None else int(total),
        _moment(record["at"]),
        int(record["first"]),
        _moment(record["began"]),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def next_move(
    progress: Progress,
    savepoints: Mapping[int, Savepoint],
    *,
    harmless: Container[int] = (),
    now: datetime,
) -> Move:
    """The one thing to do next; ``savepoints`` are the plan's, by index.

    A step whose tries were cut off MAX_INTERRUPTIONS times is given up: a rotation that kills its
    process must not do so for ever. Those that are ``harmless`` cannot be what did it, and an
    order that may have been finalized is not lost for having been cut off by something else.
    """
    if progress.failed is not None:
        return _backwards(progress, progress.failed, savepoints)
    for index, status in enumerate(progress.items):
        match status:
            case Status.DONE:
                continue
            case Status.WAITING if progress.waiting and _waits(progress, progress.waiting[0], now):
                return Park(*progress.waiting)
            case Status.TRIED if index not in harmless and (
                (times := progress.interruptions.get(index, 0)) >= MAX_INTERRUPTIONS
            ):
                return GiveUp(index, f"the process ended {times} times during this step")
            case _ if index in savepoints:
                return Reach(index)
            case _:
                return Act(index, look_first=status is Status.TRIED)
    return Close(finished=True)


def _waits(progress: Progress, until: datetime, now: datetime) -> bool:
    """Whether it is too early still; not by a clock that has been put back since.

    Then ``until`` was reckoned from a time that was wrong, and may be years away: the step is
    asked again, which knows how long to wait from now.
    """
    since = progress.waiting_since
    return now < until and (since is None or since <= now)


def _backwards(
    progress: Progress, failed: Failed, savepoints: Mapping[int, Savepoint]
) -> Undo | Close:
    for index in range(len(progress.items) - 1, progress.saved, -1):
        if progress.items[index] is not Status.UNTRIED:
            return Undo(index)
    to = savepoints[progress.saved].name if progress.saved >= 0 else ""
    return Close(finished=False, to=to, because=failed.why)


def to_look_at(progress: Progress, savepoints: Sequence[int]) -> list[int]:
    """Steps the journal calls done since the last savepoint, whose effect a start looks at again.

    Between two processes somebody may have undone them (a full disk kept the journal from saying
    so, an operator restored a backup): then they are done again instead of believed.
    """
    if progress.failed is not None:
        return []
    return [
        index
        for index in range(progress.saved + 1, len(progress.items))
        if progress.items[index] is Status.DONE and index not in savepoints
    ]
