"""The thin applier: takes the next move from the journal, makes it, writes it down, repeats."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.rotation.ledger import JournalLedger
from certrotd.rotation.outcome import (
    CANCELLED,
    Event,
    Finished,
    Outcome,
    Parked,
    RolledBack,
    Stopped,
    Stuck,
)
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
    compacted,
    next_move,
    read_progress,
    to_look_at,
)
from certrotd.rotation.step import (
    JSON,
    Done,
    Later,
    NotYet,
    Observed,
    Plan,
    Polled,
    Rebuild,
    Savepoint,
    Step,
    plan_from_json,
    plan_to_json,
)
from certrotd.rotation.unexpected import as_failure, wait_asked_for
from certrotd.state.ports import Fenced, Journal, JournalBroken

W = TypeVar("W")
RETRY = timedelta(minutes=1)
COMPACT_AFTER = 100
FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Engine(Generic[W]):
    """Advances one rotation.

    ``now`` is the clock, ``listen`` hears of everything as it happens, ``stopping`` says whether
    the process has been told to stop. Unless it is ``patient``, what waits is tried all the same.
    The caller holds the subject's lock, and ``fence`` raises Fenced once it is lost: then nothing
    is written or undone any more, and that is what every method here raises.
    """

    journal: Journal
    world: W
    rebuild: Rebuild[W]
    now: Callable[[], datetime]
    listen: Callable[[Event], None] = lambda _event: None
    stopping: Callable[[], bool] = lambda: False
    patient: bool = True
    fence: Callable[[], None] = lambda: None
    _begin: Mapping[str, Any] = field(default_factory=dict)
    _plan: Plan[W] = ()
    _progress: Progress = field(default_factory=lambda: Progress(items=()))
    _ended: Mapping[str, Any] = field(default_factory=dict)
    _checkpoints: int = 0

    def in_flight(self) -> dict[str, Any] | None:
        """The begin record of a rotation that a crash, a wait or a stop left open."""
        records = self.journal.records()
        return records[0] if records else None

    def begin(
        self,
        rotation: str,
        subject: str,
        why: str,
        plan: Plan[W],
        *,
        facts: Mapping[str, JSON] | None = None,
        by_hand: bool = False,
    ) -> Outcome:
        """Start a new rotation with the unique id ``rotation`` and advance it as far as it goes.

        ``subject`` is the id of what is rotated, as text: the engine reads nothing from it.
        ``facts`` are what its steps are told of earlier rotations, ``by_hand`` that a person asked
        for it. There must be none in flight.
        """
        assert self.in_flight() is None, f"{subject} has a rotation in flight"
        record: dict[str, Any] = {
            "t": "begin",
            "id": rotation,
            "subject": subject,
            "why": why,
            "plan": plan_to_json(plan),
            "facts": dict(facts or {}),
            "at": self._stamp(),
        }
        if by_hand:
            record["by_hand"] = True
        self.fence()
        self.journal.append(record, sync=False)
        self._understand([record])
        return self._advance()

    def resume(self) -> Outcome:
        """Read the journal, look, go on.

        Raises JournalBroken after putting things back, and NeedsOperator for a journal that this
        version does not understand.
        """
        self._read()
        return self._advance()

    def known(self) -> Mapping[str, JSON]:
        """The facts of the rotation in flight."""
        self._read()
        return self._progress.facts

    def note(self, facts: Mapping[str, JSON]) -> None:
        """Tell the steps of the rotation in flight something more; it is kept in its journal."""
        self._read()
        self._write({"t": "note", "facts": dict(facts)}, sync=False)
        self.journal.release()

    def waits(self) -> Parked | None:
        """What the rotation in flight waits for, if that is all there is to do; else None.

        Asked of a step that can look by itself, and without a trace in the journal unless it waits
        for something else now. Once it can go on, resume() does so at once.
        """
        self._read()
        progress = self._progress
        index = next((i for i, s in enumerate(progress.items) if s is not Status.DONE), None)
        if index is None or progress.failed or progress.items[index] is not Status.WAITING:
            return None
        step = self._step(index)
        if not isinstance(step, Polled) or self._lost() is not None:
            return None
        try:
            waits = step.poll(self.world, self._ledger(index))
        except (Failure, OSError) as error:
            failure = as_failure(error, f"look at {self._title(index)!r}")
            return Parked(self.now() + RETRY, str(failure), failed=True)
        if waits is not None and (progress.waiting is None or waits.why != progress.waiting[1]):
            self._answered(index, waits)
            self.journal.release()
        self.patient = waits is not None
        return Parked(waits.until, waits.why) if waits else None

    def cancel(self) -> Outcome:
        """Undo the rotation in flight to its last savepoint; raises as check_cancel()."""
        self.check_cancel()
        progress = self._progress
        if progress.outcome is None and progress.failed is None:
            behind = range(progress.saved + 1, len(progress.items))
            open_ = (i for i in behind if progress.items[i] is not Status.DONE)
            self._fail(next(open_, progress.saved), NeedsOperator(CANCELLED))
        return self._advance()

    def check_cancel(self) -> None:
        """Raise NeedsOperator where there is no way back."""
        self._read()
        saved = self._saved
        if saved is None or not saved.forward_only or self._progress.outcome is not None:
            return
        raise NeedsOperator(
            f"the rotation cannot be cancelled: nothing after {saved.name!r} is undone",
            hint="it ends by itself; certrotd status shows what it waits for",
        )

    def give_up(self, failure: Failure) -> Outcome | None:
        """Undo a rotation in flight that waits; None if it has reached a savepoint, or has failed.

        Nothing it did is in use before the first one.
        """
        self._read()
        items, saved = self._progress.items, self._saved
        if saved is not None or self._progress.failed is not None or Status.DONE not in items:
            return None
        waiting = next(i for i, status in enumerate(items) if status is not Status.DONE)
        self._fail(waiting, failure)
        return self._advance()

    def _advance(self) -> Outcome:
        self._tell("began", -1, detail=str(self._begin["why"]))
        try:
            outcome = self._look_again()
            while outcome is None:
                outcome = self._move()
            return outcome
        except JournalBroken:
            self._put_back_unrecorded()
            raise
        except Fenced:
            self.journal.drop()
            raise
        finally:
            self.journal.release()

    def _read(self) -> bool:
        """Whether the journal knows of a rotation at all, and where it stands."""
        records = self.journal.records()
        if records:
            self._understand(records)
        return bool(records)

    def _understand(self, journaled: Sequence[Mapping[str, Any]]) -> None:
        self._begin, *records = journaled
        try:
            self._plan = plan_from_json(self._begin["plan"], self.rebuild)
            self._progress = read_progress(records, len(self._plan), self._begin["facts"])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise NeedsOperator(
                f"the rotation in flight cannot be understood: {type(error).__name__}: {error}",
                hint="finish it with the version of certrotd that began it, or move its journal "
                "away: the generations themselves show what is deployed",
            ) from error
        self._ended = records[-1] if self._progress.outcome else {}

    def _move(self) -> Outcome | None:
        progress = self._progress
        if progress.outcome is not None:
            return self._close(progress)
        now = self.now() if self.patient else FOREVER
        move = next_move(progress, self._savepoints, harmless=self._harmless, now=now)
        if self.stopping() and isinstance(move, Act | Reach):
            return self._stop(move.index, woken=False)
        match move:
            case Act(index, look_first):
                return self._act(index, look_first)
            case Undo(index):
                return self._undo(index)
            case Reach(index):
                # not synced: nothing is done before the next record that is
                self._write({"t": "reached", "i": index}, sync=False)
                self._tell("reached", index)
            case GiveUp(index, why):
                return self._fail(index, Transient(why))
            case Park(until, why):
                return Parked(until, why)
            case Close(finished, to, because):
                back = f"rolled back to {to}" if to else "nothing was changed"
                back = "left in place" if "kept" in progress.facts else back
                outcome = "finished" if finished else back
                end = {"t": "end", "outcome": outcome, "to": to, "at": self._stamp()}
                # not synced: without it the next start comes to the same end
                self._write({**end, "why": because}, sync=False)
                self._ended = end
        return None

    def _act(self, index: int, look_first: bool) -> Outcome | None:
        step = self._step(index)
        self._tell("trying", index)
        try:
            if look_first and self._is_done(index):
                self._answered(index, Done())
                self._tell("done", index)
                return None
            self._write({"t": "try", "i": index, "at": self._stamp()}, sync=True)
            answer = step.do(self.world, self._ledger(index))
            self._answered(index, answer)
        except (JournalBroken, Fenced):
            raise
        except Stopped:
            return self._stop(index, woken=True)
        except Exception as error:  # noqa: BLE001  # a bug must not leave half a rotation in place
            return self._fail(index, as_failure(error, f"finish step {step.kind!r}"))
        if isinstance(answer, Done):
            self._tell("done", index)
            return None
        self._tell("waiting", index, detail=answer.why)
        return Parked(answer.until, answer.why)

    def _answered(self, index: int, answer: Done | NotYet) -> None:
        """Write down what a step answered; one whose answer cannot be kept has failed."""
        if isinstance(answer, Done):
            # not synced: if it is lost, the next start looks and finds the act done
            record = {"t": "done", "i": index, "facts": dict(answer.facts), "at": self._stamp()}
            self._write(record, sync=False)
            return
        record = {"t": "wait", "i": index, "until": answer.until.isoformat(), "why": answer.why}
        self._write({**record, "at": self._stamp()}, sync=True)

    def _fail(self, index: int, failure: Failure) -> Outcome | None:
        self._tell("failed", index, detail=str(failure))
        saved, wait = self._saved, wait_asked_for(failure)
        if isinstance(failure, Later) or (saved is not None and saved.forward_only):
            # nothing to go back to: the rotation stays open and this step is tried again
            # whoever asks for no wait at all is not asked again at once for ever
            until, why = self.now() + (wait or RETRY), f"{self._title(index)}: {failure}"
            record = {"t": "paused", "i": index, "why": why, "at": self._stamp()}
            if wait:
                record |= {"t": "wait", "until": until.isoformat(), "failed": True}
            self._write(record, sync=bool(wait))
            return Parked(until, why, failed=True)
        seconds = wait.total_seconds() if wait is not None else None
        record = {"t": "failed", "i": index, "why": str(failure), "at": self._stamp()}
        stopped = {"stopped": True} if isinstance(failure, Stopped) else {}
        self._write({**record, **stopped, "retry_after": seconds}, sync=True)
        return None

    def _stop(self, index: int, *, woken: bool) -> Outcome | None:
        items, saved = self._progress.items, self._saved
        begun = any(status is not Status.UNTRIED for status in items[self._progress.saved + 1 :])
        if begun and saved is not None and saved.stop_undoes:
            return self._fail(index, Stopped("the process was told to stop"))
        if woken and items[index] is Status.TRIED:  # if not, what cut it off was no stop
            self._write({"t": "paused", "i": index}, sync=False)
        self._tell("paused", index)
        return Parked(self.now(), "the process was told to stop")

    def _undo(self, index: int) -> Outcome | None:
        step = self._step(index)
        self._tell("undoing", index)
        self.fence()
        try:
            self._go_back(index)
        except (JournalBroken, Fenced):
            raise
        except Exception as error:  # noqa: BLE001  # said, journaled and tried again, like any other
            return self._stuck(index, as_failure(error, f"undo step {step.kind!r}"))
        self._write({"t": "undone", "i": index, "at": self._stamp()}, sync=True)
        self._tell("undone", index)
        return None

    def _go_back(self, index: int) -> None:
        step = self._step(index)
        try:
            step.undo(self.world, self._ledger(index))
        except Stopped:  # whoever sleeps is woken once; what has begun to go back goes on
            step.undo(self.world, self._ledger(index))

    def _stuck(self, index: int, failure: Failure) -> Stuck:
        self._tell("stuck", index, detail=str(failure))
        why = str(failure)
        self._write({"t": "stuck", "i": index, "why": why, "at": self._stamp()}, sync=True)
        failed = self._progress.failed
        return Stuck(self._title(index), failed.why if failed else "", why)

    def _close(self, progress: Progress) -> Outcome:
        begin, end = self._begin, self._ended
        failed = progress.failed
        self.fence()
        self.journal.close(
            {
                "id": begin["id"],
                "subject": begin["subject"],
                "why": begin["why"],
                "began": begin["at"],
                "ended": end["at"],
                "outcome": end["outcome"],
                "to": end["to"],
                "failed_step": self._title(failed.at) if failed else None,
                "failure": failed.why if failed else None,
                "retry_after": failed.retry_after if failed else None,
                "stopped": failed is not None and failed.stopped,
                "by_hand": bool(begin.get("by_hand")),
                "facts": dict(progress.facts),
            }
        )
        self._tell("closed", -1, detail=str(end["outcome"]))
        if failed is None:
            return Finished(progress.facts)
        step, stopped = self._title(failed.at), failed.stopped
        return RolledBack(end["to"], step, failed.why, failed.retry_after, progress.facts, stopped)

    def _is_done(self, index: int) -> bool:
        try:
            seen = self._step(index).observe(self.world, self._ledger(index))
        except (Failure, OSError):
            return False  # it is done again, which shows what is wrong
        return seen is Observed.DONE

    def _look_again(self) -> Outcome | None:
        """What somebody undid behind the journal's back is done again, and what was built on it.

        Without a look nothing goes on: back if what is begun must not stay half-way, else later.
        """
        if self._progress.outcome is not None:
            return None
        lost = self._lost()
        if lost is None:
            return None
        index, failure = lost
        if failure is None:
            self._write({"t": "lost", "i": index}, sync=False)
            return None
        if self._saved is not None and self._saved.stop_undoes:
            return self._fail(index, failure)
        return Parked(self.now() + RETRY, str(failure), failed=True)

    def _lost(self) -> tuple[int, Failure | None] | None:
        """The first step that somebody undid, or why nobody can tell of one; None if all stand."""
        for index in to_look_at(self._progress, list(self._savepoints)):
            try:
                seen = self._step(index).observe(self.world, self._ledger(index))
            except Fenced:
                raise
            except Exception as error:  # noqa: BLE001  # without a look, whatever the reason
                return index, as_failure(error, f"look at {self._title(index)!r}")
            if seen is Observed.NOT_DONE:
                return index, None
        return None

    def _put_back_unrecorded(self) -> None:
        """Undo what the journal can no longer follow; the next start looks and goes on from there.

        Failures of these undos are told and left to that start: nothing can be written down.
        Before the first savepoint nothing is in use yet, and staged work is kept. So is a long step
        in the middle: without a record of it, its undoing would belie the checkpoint it goes on
        from.
        """
        try:
            # a record that could not be synced may be there all the same
            if not self._read():
                return  # not even that it began: nothing was done
        except Failure as failure:
            self._tell("stuck", -1, detail=str(failure))
            return
        progress, saved = self._progress, self._saved
        if progress.outcome is not None or saved is None or not saved.stop_undoes:
            return  # what has ended is only closed by the next start
        if progress.checkpoint is not None:
            return
        for index in range(len(self._plan) - 1, progress.saved, -1):
            if progress.items[index] is Status.UNTRIED:
                continue
            self._tell("undoing", index)
            self.fence()
            try:
                self._go_back(index)
            except Fenced:
                raise
            except Exception as error:  # noqa: BLE001  # the broken journal is what is raised
                trouble = as_failure(error, f"undo step {self._title(index)!r}")
                self._tell("stuck", index, detail=str(trouble))
                return
            self._tell("undone", index)

    @property
    def _savepoints(self) -> dict[int, Savepoint]:
        return {i: item for i, item in enumerate(self._plan) if isinstance(item, Savepoint)}

    @property
    def _harmless(self) -> set[int]:
        steps = enumerate(self._plan)
        return {i for i, item in steps if not isinstance(item, Savepoint) and not item.can_kill}

    @property
    def _saved(self) -> Savepoint | None:
        return self._savepoints.get(self._progress.saved)

    def _step(self, index: int) -> Step[W]:
        item = self._plan[index]
        assert not isinstance(item, Savepoint)
        return item

    def _ledger(self, index: int) -> JournalLedger:
        return JournalLedger(
            index,
            lambda: self._progress.facts,
            lambda: self._progress.checkpoint,
            self._note,
            self.now,
        )

    def _note(self, record: dict[str, Any]) -> None:
        self._write(record, sync=True)
        if record["t"] != "checkpoint":
            return
        self._checkpoints += 1
        if self._checkpoints == COMPACT_AFTER:
            self._checkpoints = 0
            # without the room for a copy, records are added to the journal as it is
            with contextlib.suppress(DiskTrouble):
                self.journal.replace(compacted(self.journal.records()))

    def _title(self, index: int) -> str:
        item = self._plan[index]
        return item.name if isinstance(item, Savepoint) else item.kind

    def _write(self, record: dict[str, Any], *, sync: bool) -> None:
        progress = apply(self._progress, record)  # what could not be read back is not written
        self.fence()
        self.journal.append(record, sync=sync)
        self._progress = progress

    def _stamp(self) -> str:
        return self.now().isoformat()

    def _tell(self, what: str, index: int, *, detail: str = "") -> None:
        begin = self._begin
        self.listen(
            Event(
                rotation=begin["id"],
                subject=begin["subject"],
                what=what,
                index=index,
                size=len(self._plan),
                item=self._title(index) if index >= 0 else "",
                detail=detail,
            )
        )


def titles(plan: Plan[Any]) -> Iterator[str]:
    """What each item of a plan is called, for listings."""
    for item in plan:
        yield item.name if isinstance(item, Savepoint) else item.kind


__all__ = [
    "Engine",
    "Event",
    "Finished",
    "Outcome",
    "Parked",
    "RolledBack",
    "Stopped",
    "Stuck",
    "titles",
]
