"""A worker that comes by itself for one shard, such as a pod of a Job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.clock import Clock, Deadline
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.keyring import Keyring
from certrotd.keys.shard_work import check_work, divisible, label_of, of_run, work_of, work_on
from certrotd.rotation.engine import Stopped

if TYPE_CHECKING:  # what only datasets need is loaded for them
    from certrotd.datasets.shards import Shard
    from certrotd.keys.stored_data import StoredData

POLL = 2.0
"""Whoever waits for a run looks so often, in seconds."""


@dataclass(frozen=True)
class Wanted:
    """The shard ``number`` of a dataset, if its re-encryption begins by ``until``."""

    dataset: str
    number: int
    holder: str
    until: Deadline


def work_when_open(
    stored: StoredData,
    wanted: Wanted,
    clock: Clock,
    stopping: Callable[[], bool],
    say: Callable[[str], None] = lambda _words: None,
) -> None:
    """Work on a shard once a run has it, until it is done, by whomever.

    ``say`` is told what is waited for. Raises Transient if no run begins in time, NeedsOperator
    if it has no such shard, Stopped, and Failure.
    """
    from certrotd.datasets.shards import LeaseLost

    keyring = stored.keyring()

    def before() -> None:
        if stopping():
            raise Stopped("the process was told to stop")

    told = ""
    with stored.open(wanted.dataset) as opened:
        checkpoints = divisible(opened).checkpoints(label_of(keyring.name, wanted.dataset))
        while True:
            before()
            run, is_open = checkpoints.run() or (None, False)
            if run is not None:
                keyring = _newer(stored, keyring, run.active)
            keys = keyring.key_set()
            own = work_of(opened, keyring, keys.active)
            if is_open and run is not None and run.active == keys.active:
                check_work(of_run(run.name), own, wanted.dataset)
            if run is not None and (run.active, of_run(run.name)) == (keys.active, own):
                if _is_done(checkpoints.shards(), wanted):
                    return
                if lease := checkpoints.take(run, wanted.number, wanted.holder):
                    with suppress(LeaseLost):
                        work_on(lease, opened, keys, clock, before)
                    continue
            if wanted.until.passed and not is_open:
                raise Transient(
                    f"no re-encryption of {wanted.dataset} has begun",
                    hint=f"certrotd keys plan {keyring.name} says when one does",
                )
            words = f"shard {wanted.number} is another's" if is_open else "nothing has begun"
            if words != told:
                say(f"{wanted.dataset}: {words}: waiting")
                told = words
            clock.sleep(POLL)


def _is_done(shards: Sequence[Shard], wanted: Wanted) -> bool:
    """Whether it is, or all are of a run without it; raises NeedsOperator for others without it."""
    mine = [each.done for each in shards if each.number == wanted.number]
    left = mine or [each.done for each in shards]
    if not mine and not all(left):
        raise NeedsOperator(
            f"the re-encryption of {wanted.dataset} that runs has {len(shards)} shards",
            hint="shards was changed since it began: the next one has as many",
        )
    return all(left)


def _newer(stored: StoredData, keyring: Keyring, wanted: int) -> Keyring:
    """The keyring as it is now, if a later version is wanted and active since."""
    if wanted <= keyring.key_set().active:
        return keyring
    found = stored.store.inspect()
    active = found.versions.active if found is not None else None
    return stored.keyring() if active is not None and active.number >= wanted else keyring
