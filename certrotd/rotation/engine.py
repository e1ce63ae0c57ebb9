"""The thin applier: takes the next move from the journal, makes it, writes it down, repeats."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from certrotd.errors import Failure, Transient, one_line
from certrotd.rotation.files import DiskTrouble
from certrotd.rotation.journal import Journal, JournalBroken
from certrotd.rotation.recovery import (
    Act,
    Close,
    GiveUp,
    Park,
    Progress,
    Reach,
    Status,
    Undo,
    apply,
    next_move,
    read_progress,
    to_look_at,
)
from certrotd.rotation.step import (
    JSON,
    Done,
    Later,
    Observed,
    Plan,
    Rebuild,
    Savepoint,
    Step,
    plan_from_json,
    plan_to_json,
)

W = TypeVar("W")
RETRY = timedelta(minutes=1)


class Stopped(Failure):
    """The process was told to stop while a step was waiting for something."""


@dataclass(frozen=True)
class Event:
    """Something a watcher may show: ``what`` happened to the item ``index`` of ``size``.

    ``what`` is one of began, trying, done, waiting, failed, undoing, undone, stuck, reached,
    paused, closed; ``detail`` is for people.
    """

    rotation: str
    name: str
    what: str
    index: int
    size: int
    item: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Finished:
    """Every step is done; ``facts`` are what they answered."""

    facts: Mapping[str, JSON]


@dataclass(frozen=True)
class Parked:
    """The rotation goes on at ``until`` or at the next start after it.

    ``failed`` tells a step that could not be done from one that waits as planned.
    """

    until: datetime
    why: str
    failed: bool = False


@dataclass(frozen=True)
class RolledBack:
    """Everything after the savepoint ``to`` ("" is the beginning) was undone."""

    to: str
    step: str
    because: str
    retry_after: float | None = None


@dataclass(frozen=True)
class Stuck:
    """An undo failed; it is tried again at every start until it works."""

    step: str
    because: str
    undo_failed: str


Outcome = Finished | Parked | RolledBack | Stuck


@dataclass
class Engine(Generic[W]):
    """Advances one rotation.

    ``now`` is the clock, ``listen`` hears of everything as it happens, ``stopping`` says whether
    the process has been told to stop. The caller holds the name's lock.
    """

    journal: Journal
    world: W
    rebuild: Rebuild[W]
    now: Callable[[], datetime]
    listen: Callable[[Event], None] = lambda _event: None
    stopping: Callable[[], bool] = lambda: False
    _begin: Mapping[str, Any] = field(default_factory=dict)
    _plan: Plan[W] = ()
    _progress: Progress = field(default_factory=lambda: Progress(items=()))
    _ended: Mapping[str, Any] = field(default_factory=dict)

    def in_flight(self) -> dict[str, Any] | None:
        """The begin record of a rotation that a crash, a wait or a stop left open."""
        records = self.journal.records()
        return records[0] if records else None

    def begin(self, rotation: str, name: str, why: str, plan: Plan[W]) -> Outcome:
        """Start a new rotation with the unique id ``rotation`` and advance it as far as it goes."""
        record = {
            "t": "begin",
            "id": rotation,
            "name": name,
            "why": why,
            "plan": plan_to_json(plan),
            "at": self._stamp(),
        }
        self.journal.append(record, sync=False)
        return self.resume()

    def resume(self) -> Outcome:
        """Read the journal, look, go on. Raises JournalBroken after putting things back."""
        self._begin, *records = self.journal.records()
        self._plan = plan_from_json(self._begin["plan"], self.rebuild)
        self._progress = read_progress(records, len(self._plan))
        self._ended = records[-1] if self._progress.outcome else {}
        self._tell("began", -1, detail=str(self._begin["why"]))
        try:
            self._look_again()
            while True:
                outcome = self._move()
                if outcome is not None:
                    return outcome
        except JournalBroken:
            self._put_back_unrecorded()
            raise

    def _move(self) -> Outcome | None:
        progress = self._progress
        if progress.outcome is not None:
            return self._close(progress)
        move = next_move(progress, self._savepoints, now=self.now())
        if self.stopping() and isinstance(move, Act | Reach):
            return self._stop(progress, move.index)
        match move:
            case Act(index, look_first):
                return self._act(index, look_first)
            case Undo(index):
                return self._undo(index, progress)
            case Reach(index):
                self._write({"t": "reached", "i": index}, sync=True)
                self._tell("reached", index)
            case GiveUp(index, why):
                return self._fail(index, Transient(why))
            case Park(until, why):
                return Parked(until, why)
            case Close(finished, to, because):
                outcome = "finished" if finished else f"rolled back to {to or 'the beginning'}"
                end = {"t": "end", "outcome": outcome, "to": to, "at": self._stamp()}
                self._write({**end, "why": because}, sync=True)
                self._ended = end
        return None

    def _act(self, index: int, look_first: bool) -> Outcome | None:
        step = self._step(index)
        ledger = _Ledger(self, index)
        self._tell("trying", index)
        try:
            if look_first and step.observe(self.world, ledger) is Observed.DONE:
                self._done(index, {})
                return None
            self._write({"t": "try", "i": index, "at": self._stamp()}, sync=True)
            answer = step.do(self.world, ledger)
        except JournalBroken:
            raise
        except Stopped:
            return self._stop(self._progress, index)
        except Failure as failure:
            return self._fail(index, failure)
        except OSError as error:
            return self._fail(index, DiskTrouble(f"finish step {step.kind!r}", error))
        except Exception as error:  # noqa: BLE001  # a bug must not leave half a rotation in place
            return self._fail(index, _bug(error))
        if isinstance(answer, Done):
            self._done(index, answer.facts)
            return None
        until = answer.until.isoformat()
        self._write({"t": "wait", "i": index, "until": until, "why": answer.why}, sync=True)
        self._tell("waiting", index, detail=answer.why)
        return None

    def _done(self, index: int, facts: Mapping[str, JSON]) -> None:
        # not synced: if it is lost, the next start looks and finds the act done
        self._write(
            {"t": "done", "i": index, "facts": dict(facts), "at": self._stamp()}, sync=False
        )
        self._tell("done", index)

    def _fail(self, index: int, failure: Failure) -> Outcome | None:
        self._tell("failed", index, detail=str(failure))
        progress = self._progress
        wait = failure.retry_after if isinstance(failure, Transient) else None
        seconds = wait.total_seconds() if wait else None
        saved = self._savepoints.get(progress.saved)
        if isinstance(failure, Later) or (saved is not None and saved.forward_only):
            # nothing to go back to: the rotation stays open and this step is tried again
            self._write({"t": "lost", "i": index}, sync=False)
            return Parked(self.now() + RETRY, f"{self._title(index)}: {failure}", failed=True)
        record = {"t": "failed", "i": index, "why": str(failure), "at": self._stamp()}
        self._write({**record, "retry_after": seconds}, sync=True)
        return None

    def _stop(self, progress: Progress, index: int) -> Outcome | None:
        begun = any(
            progress.items[i] is not Status.UNTRIED
            for i in range(progress.saved + 1, len(progress.items))
        )
        saved = self._savepoints.get(progress.saved)
        if begun and saved is not None and saved.stop_undoes:
            return self._fail(index, Stopped("the process was told to stop"))
        if progress.items[index] is Status.TRIED:
            self._write({"t": "paused", "i": index}, sync=False)
        self._tell("paused", index)
        return Parked(self.now(), "the process was told to stop")

    def _undo(self, index: int, progress: Progress) -> Outcome | None:
        step = self._step_or_savepoint(index)
        if isinstance(step, Savepoint):
            self._write({"t": "undone", "i": index}, sync=False)
            return None
        self._tell("undoing", index)
        failed = progress.failed
        assert failed is not None
        try:
            step.undo(self.world, _Ledger(self, index))
        except JournalBroken:
            raise
        except Failure as failure:
            return self._stuck(index, failure, failed.why)
        except OSError as error:
            return self._stuck(index, DiskTrouble(f"undo step {step.kind!r}", error), failed.why)
        except Exception as error:  # noqa: BLE001  # said, journaled and tried again, like any other
            return self._stuck(index, _bug(error), failed.why)
        self._write({"t": "undone", "i": index, "at": self._stamp()}, sync=True)
        self._tell("undone", index)
        return None

    def _stuck(self, index: int, failure: Failure, because: str) -> Stuck:
        self._tell("stuck", index, detail=str(failure))
        why = str(failure)
        self._write({"t": "stuck", "i": index, "why": why, "at": self._stamp()}, sync=True)
        return Stuck(self._title(index), because, why)

    def _close(self, progress: Progress) -> Outcome:
        begin, end = self._begin, self._ended
        failed = progress.failed
        self.journal.close(
            {
                "id": begin["id"],
                "name": begin["name"],
                "why": begin["why"],
                "began": begin["at"],
                "ended": end["at"],
                "outcome": end["outcome"],
                "to": end["to"],
                "failed_step": self._title(failed.at) if failed else None,
                "failure": failed.why if failed else None,
                "retry_after": failed.retry_after if failed else None,
                "facts": dict(progress.facts),
            }
        )
        self._tell("closed", -1, detail=str(end["outcome"]))
        if failed is None:
            return Finished(progress.facts)
        return RolledBack(end["to"], self._title(failed.at), failed.why, failed.retry_after)

    def _look_again(self) -> None:
        """Steps whose act somebody undid behind the journal's back are done again."""
        progress = self._progress
        if progress.outcome is not None:
            return
        for index in to_look_at(progress, list(self._savepoints)):
            with contextlib.suppress(Failure):  # then it is unknown, and the journal is believed
                if self._step(index).observe(self.world, _Ledger(self, index)) is Observed.NOT_DONE:
                    self._write({"t": "lost", "i": index}, sync=False)

    def _put_back_unrecorded(self) -> None:
        """Undo what the journal can no longer follow; the next start looks and goes on from there.

        Failures of these undos are told and left to that start: nothing can be written down.
        """
        progress = self._progress
        saved = self._savepoints.get(progress.saved)
        if saved is not None and (saved.forward_only or not saved.stop_undoes):
            return
        if saved is None:
            return  # before the first savepoint nothing is in use yet, and staged work is kept
        for index in range(len(self._plan) - 1, progress.saved, -1):
            step = self._plan[index]
            if progress.items[index] is Status.UNTRIED or isinstance(step, Savepoint):
                continue
            self._tell("undoing", index)
            try:
                step.undo(self.world, _Ledger(self, index))
            except (Failure, OSError) as failure:
                self._tell("stuck", index, detail=str(failure))
                return
            self._tell("undone", index)

    @property
    def _savepoints(self) -> dict[int, Savepoint]:
        return {i: item for i, item in enumerate(self._plan) if isinstance(item, Savepoint)}

    def _step(self, index: int) -> Step[W]:
        item = self._plan[index]
        assert not isinstance(item, Savepoint)
        return item

    def _step_or_savepoint(self, index: int) -> Step[W] | Savepoint:
        return self._plan[index]

    def _title(self, index: int) -> str:
        item = self._plan[index]
        return item.name if isinstance(item, Savepoint) else item.kind

    def _write(self, record: dict[str, Any], *, sync: bool) -> None:
        self.journal.append(record, sync=sync)
        self._progress = apply(self._progress, record)

    def _stamp(self) -> str:
        return self.now().isoformat()

    def _tell(self, what: str, index: int, *, detail: str = "") -> None:
        begin = self._begin
        self.listen(
            Event(
                rotation=begin["id"],
                name=begin["name"],
                what=what,
                index=index,
                size=len(self._plan),
                item=self._title(index) if index >= 0 else "",
                detail=detail,
            )
        )


class _Ledger:
    """The journal as one step sees it."""

    def __init__(self, engine: Engine[Any], index: int) -> None:
        self._engine = engine
        self._index = index

    @property
    def facts(self) -> Mapping[str, JSON]:
        return self._engine._progress.facts

    def note(self, **facts: JSON) -> None:
        self._engine._write({"t": "note", "i": self._index, "facts": facts}, sync=True)


def _bug(error: Exception) -> Failure:
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = one_line(f"{type(error).__name__}: {error}")
    return Failure(
        f"unexpected {text} at {where.filename}:{where.lineno}",
        hint="this is a defect of certrotd; please report it",
    )


def titles(plan: Plan[Any]) -> Iterator[str]:
    """What each item of a plan is called, for listings."""
    for item in plan:
        yield item.name if isinstance(item, Savepoint) else item.kind
