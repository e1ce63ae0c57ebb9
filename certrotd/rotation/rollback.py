"""Undoing the steps of a rotation: each with its record, or without where the journal is broken."""

from __future__ import annotations

from typing import TypeVar

from certrotd.errors import Failure
from certrotd.rotation.journaled_rotation import JournaledRotation
from certrotd.rotation.outcome import Stopped, Stuck
from certrotd.rotation.recovery import Status
from certrotd.rotation.unexpected import as_failure
from certrotd.state.ports import Fenced, JournalBroken

W = TypeVar("W")


def undo(rotation: JournaledRotation[W], world: W, index: int) -> Stuck | None:
    """Undo the step at ``index`` and write that down; Stuck if it cannot be undone now.

    Raises JournalBroken or Fenced.
    """
    rotation.tell("undoing", index)
    rotation.fence()
    try:
        _undo_step(rotation, world, index)
    except (JournalBroken, Fenced):
        raise
    except Exception as error:  # noqa: BLE001  # said, journaled and tried again, like any other
        failure = as_failure(error, f"undo step {rotation.title(index)!r}")
        return _stuck(rotation, index, str(failure))
    rotation.write({"t": "undone", "i": index, "at": rotation.stamp()}, sync=True)
    rotation.tell("undone", index)
    return None


def undo_unrecorded(rotation: JournaledRotation[W], world: W) -> None:
    """Undo what the journal can no longer follow; the next start looks and goes on from there.

    Failures of these undos are told and left to that start: nothing can be written down.
    Before the first savepoint nothing is in use yet, and staged work is kept. So is a long step
    in the middle: without a record of it, its undoing would belie the checkpoint it goes on
    from. What the journal leaves open, but this process knows that it did not try, is passed over.
    Raises Fenced.
    """
    untried = {i for i, each in enumerate(rotation.progress.items) if each is Status.UNTRIED}
    try:
        # a record that could not be synced may be there all the same
        if not rotation.read():
            return  # not even that it began: nothing was done
    except Failure as failure:
        rotation.tell("stuck", detail=str(failure))
        return
    progress, saved = rotation.progress, rotation.saved
    if progress.outcome is not None or saved is None or not saved.stop_undoes:
        return  # what has ended is only closed by the next start
    if progress.checkpoint is not None:
        return
    for index in range(len(progress.items) - 1, progress.saved, -1):
        if index in untried or progress.items[index] is Status.UNTRIED:
            continue
        rotation.tell("undoing", index)
        rotation.fence()
        try:
            _undo_step(rotation, world, index)
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001  # the broken journal is what is raised
            trouble = as_failure(error, f"undo step {rotation.title(index)!r}")
            rotation.tell("stuck", index, detail=str(trouble))
            return
        rotation.tell("undone", index)


def _undo_step(rotation: JournaledRotation[W], world: W, index: int) -> None:
    step = rotation.step(index)
    try:
        step.undo(world, rotation.ledger(index))
    except Stopped:  # whoever sleeps is woken once; what has begun to go back goes on
        step.undo(world, rotation.ledger(index))


def _stuck(rotation: JournaledRotation[W], index: int, why: str) -> Stuck:
    rotation.tell("stuck", index, detail=why)
    rotation.write({"t": "stuck", "i": index, "why": why, "at": rotation.stamp()}, sync=True)
    failed = rotation.progress.failed
    return Stuck(rotation.title(index), failed.why if failed else "", why)
