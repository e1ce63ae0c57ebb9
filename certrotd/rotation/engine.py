"""The thin applier: takes the next move from the journal, makes it, writes it down, repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.rotation.journaled_rotation import JournaledRotation
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
    Reach,
    Status,
    Undo,
    next_move,
    to_look_at,
)
from certrotd.rotation.rollback import undo, undo_unrecorded
from certrotd.rotation.step import JSON, Done, Later, Observed, Plan, Polled, Rebuild, title
from certrotd.rotation.unexpected import as_failure, wait_asked_for
from certrotd.state.ports import Fenced, Journal, JournalBroken

W = TypeVar("W")
RETRY = timedelta(minutes=1)
FOREVER = datetime.max.replace(tzinfo=UTC)


class Engine(Generic[W]):
    """Advances one rotation.

    ``now`` is the clock, ``listen`` hears of everything as it happens, ``stopping`` says whether
    the process has been told to stop. Unless it is ``patient``, what waits is tried all the same.
    ``hands_over``: another process goes on where a stop leaves a rotation, so nothing is undone.
    The caller holds the subject's lock, and ``fence`` raises Fenced once it is lost: then nothing
    is written or undone any more, and that is what every method here raises.
    """

    def __init__(
        self,
        journal: Journal,
        world: W,
        rebuild: Rebuild[W],
        now: Callable[[], datetime],
        *,
        listen: Callable[[Event], None] = lambda _event: None,
        stopping: Callable[[], bool] = lambda: False,
        patient: bool = True,
        hands_over: bool = False,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        self.patient = patient
        self._world = world
        self._now = now
        self._stopping = stopping
        self._hands_over = hands_over
        self._rotation = JournaledRotation(journal, rebuild, now, listen, fence)

    def in_flight(self) -> dict[str, Any] | None:
        """The begin record of a rotation that a crash, a wait or a stop left open."""
        records = self._rotation.journal.records()
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
        self._rotation.begin(rotation, subject, why, plan, facts or {}, by_hand=by_hand)
        return self._advance()

    def resume(self) -> Outcome:
        """Read the journal, look, go on.

        Raises JournalBroken after putting things back, and NeedsOperator for a journal that this
        version does not understand.
        """
        self._rotation.read()
        return self._advance()

    def known(self) -> Mapping[str, JSON]:
        """The facts of the rotation in flight."""
        self._rotation.read()
        return self._rotation.progress.facts

    def note(self, facts: Mapping[str, JSON]) -> None:
        """Tell the steps of the rotation in flight something more; it is kept in its journal."""
        self._rotation.read()
        self._rotation.write({"t": "note", "facts": dict(facts)}, sync=False)
        self._rotation.journal.release()

    def waits(self) -> Parked | None:
        """What the rotation in flight waits for, if that is all there is to do; else None.

        Asked of a step that can look by itself, and without a trace in the journal unless it waits
        for something else now. Once it can go on, resume() does so at once.
        """
        self._rotation.read()
        progress = self._rotation.progress
        index = next((i for i, s in enumerate(progress.items) if s is not Status.DONE), None)
        if index is None or progress.failed or progress.items[index] is not Status.WAITING:
            return None
        step = self._rotation.step(index)
        if not isinstance(step, Polled) or self._lost() is not None:
            return None
        try:
            waits = step.poll(self._world, self._rotation.ledger(index))
        except (Failure, OSError) as error:
            failure = as_failure(error, f"look at {self._rotation.title(index)!r}")
            return Parked(self._now() + RETRY, str(failure), failed=True)
        if waits is not None and (progress.waiting is None or waits.why != progress.waiting[1]):
            self._rotation.answered(index, waits)
            self._rotation.journal.release()
        self.patient = waits is not None
        return Parked(waits.until, waits.why) if waits else None

    def cancel(self) -> Outcome:
        """Undo the rotation in flight to its last savepoint; raises as check_cancel()."""
        self.check_cancel()
        progress = self._rotation.progress
        if progress.outcome is None and progress.failed is None:
            behind = range(progress.saved + 1, len(progress.items))
            open_ = (i for i in behind if progress.items[i] is not Status.DONE)
            self._fail(next(open_, progress.saved), NeedsOperator(CANCELLED))
        return self._advance()

    def check_cancel(self) -> None:
        """Raise NeedsOperator where there is no way back."""
        self._rotation.read()
        saved = self._rotation.saved
        if saved is None or not saved.forward_only or self._rotation.progress.outcome is not None:
            return
        raise NeedsOperator(
            f"the rotation cannot be cancelled: nothing after {saved.name!r} is undone",
            hint="it ends by itself; certrotd status shows what it waits for",
        )

    def give_up(self, failure: Failure) -> Outcome | None:
        """Undo a rotation in flight that waits; None if it has reached a savepoint, or has failed.

        Nothing it did is in use before the first one.
        """
        self._rotation.read()
        progress = self._rotation.progress
        items, failed = progress.items, progress.failed
        if self._rotation.saved is not None or failed is not None or Status.DONE not in items:
            return None
        waiting = next(i for i, status in enumerate(items) if status is not Status.DONE)
        self._fail(waiting, failure)
        return self._advance()

    def _advance(self) -> Outcome:
        self._rotation.tell("began", detail=self._rotation.why)
        try:
            outcome = self._look_again()
            while outcome is None:
                outcome = self._move()
            return outcome
        except JournalBroken:
            undo_unrecorded(self._rotation, self._world)
            raise
        except Fenced:
            self._rotation.journal.drop()
            raise
        finally:
            self._rotation.journal.release()

    def _move(self) -> Outcome | None:
        rotation = self._rotation
        if rotation.progress.outcome is not None:
            return rotation.close()
        now = self._now() if self.patient else FOREVER
        move = next_move(
            rotation.progress, rotation.savepoints, harmless=rotation.harmless, now=now
        )
        if self._stopping() and isinstance(move, Act | Reach):
            return self._stop(move.index, woken=False)
        match move:
            case Act(index, look_first):
                return self._act(index, look_first)
            case Undo(index):
                return undo(rotation, self._world, index)
            case Reach(index):
                # not synced: nothing is done before the next record that is
                rotation.write({"t": "reached", "i": index}, sync=False)
                rotation.tell("reached", index)
            case GiveUp(index, why):
                return self._fail(index, Transient(why))
            case Park(until, why):
                return Parked(until, why)
            case Close():
                rotation.end(move)
        return None

    def _act(self, index: int, look_first: bool) -> Outcome | None:
        rotation = self._rotation
        step = rotation.step(index)
        rotation.tell("trying", index)
        try:
            if look_first and self._is_done(index):
                rotation.answered(index, Done())
                rotation.tell("done", index)
                return None
            record = {"t": "try", "i": index, "at": rotation.stamp()}
            # whatever cut it off before may do so again: that has to be counted
            rotation.write(record, sync=step.announced or rotation.resumed)
            answer = step.do(self._world, rotation.ledger(index))
            rotation.answered(index, answer)
        except (JournalBroken, Fenced):
            raise
        except Stopped:
            return self._stop(index, woken=True)
        except Exception as error:  # noqa: BLE001  # a bug must not leave half a rotation in place
            return self._fail(index, as_failure(error, f"finish step {step.kind!r}"))
        if isinstance(answer, Done):
            rotation.tell("done", index)
            return None
        rotation.tell("waiting", index, detail=answer.why)
        return Parked(answer.until, answer.why)

    def _fail(self, index: int, failure: Failure) -> Outcome | None:
        rotation = self._rotation
        rotation.tell("failed", index, detail=str(failure))
        saved, wait = rotation.saved, wait_asked_for(failure)
        if isinstance(failure, Later) or (saved is not None and saved.forward_only):
            # nothing to go back to: the rotation stays open and this step is tried again
            # whoever asks for no wait at all is not asked again at once for ever
            until, why = self._now() + (wait or RETRY), f"{rotation.title(index)}: {failure}"
            record = {"t": "paused", "i": index, "why": why, "at": rotation.stamp()}
            if wait:
                record |= {"t": "wait", "until": until.isoformat(), "failed": True}
            rotation.write(record, sync=bool(wait))
            return Parked(until, why, failed=True)
        seconds = wait.total_seconds() if wait is not None else None
        record = {"t": "failed", "i": index, "why": str(failure), "at": rotation.stamp()}
        stopped = {"stopped": True} if isinstance(failure, Stopped) else {}
        rotation.write({**record, **stopped, "retry_after": seconds}, sync=True)
        return None

    def _stop(self, index: int, *, woken: bool) -> Outcome | None:
        rotation, progress = self._rotation, self._rotation.progress
        items, saved = progress.items, rotation.saved
        begun = any(status is not Status.UNTRIED for status in items[progress.saved + 1 :])
        if begun and saved is not None and saved.stop_undoes and not self._hands_over:
            return self._fail(index, Stopped("the process was told to stop"))
        if woken and items[index] is Status.TRIED:  # if not, what cut it off was no stop
            rotation.write({"t": "paused", "i": index}, sync=False)
        rotation.tell("paused", index)
        return Parked(self._now(), "the process was told to stop")

    def _is_done(self, index: int) -> bool:
        try:
            seen = self._rotation.step(index).observe(self._world, self._rotation.ledger(index))
        except (Failure, OSError):
            return False  # it is done again, which shows what is wrong
        return seen is Observed.DONE

    def _look_again(self) -> Outcome | None:
        """What somebody undid behind the journal's back is done again, and what was built on it.

        Without a look nothing goes on: back if what is begun must not stay half-way, else later.
        """
        rotation = self._rotation
        lost = self._lost() if rotation.progress.outcome is None else None
        if lost is None:
            return None
        index, failure = lost
        if failure is None:
            rotation.write({"t": "lost", "i": index}, sync=False)
            return None
        if rotation.saved is not None and rotation.saved.stop_undoes:
            return self._fail(index, failure)
        return Parked(self._now() + RETRY, str(failure), failed=True)

    def _lost(self) -> tuple[int, Failure | None] | None:
        """The first step that somebody undid, or why nobody can tell of one; None if all stand."""
        rotation = self._rotation
        for index in to_look_at(rotation.progress, list(rotation.savepoints)):
            try:
                seen = rotation.step(index).observe(self._world, rotation.ledger(index))
            except Fenced:
                raise
            except Exception as error:  # noqa: BLE001  # without a look, whatever the reason
                return index, as_failure(error, f"look at {rotation.title(index)!r}")
            if seen is Observed.NOT_DONE:
                return index, None
        return None


def titles(plan: Plan[W]) -> Iterator[str]:
    """What each item of a plan is called, for listings."""
    return (title(item) for item in plan)


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
