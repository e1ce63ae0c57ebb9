"""A worker that comes by itself for one shard, such as a pod of a Job."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certrotd.clock import Clock, Deadline
from certrotd.errors import Transient
from certrotd.keyring.material import KeySet
from certrotd.keys.shard_work import divisible, label_of, work_on
from certrotd.rotation.engine import Stopped

if TYPE_CHECKING:  # what only datasets need is loaded for them
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

    ``say`` is told what is waited for. Raises Transient if no run begins in time, Stopped, and
    Failure.
    """
    from certrotd.datasets.shards import LeaseLost

    keyring = stored.keyring()
    keys = keyring.key_set()

    def before() -> None:
        if stopping():
            raise Stopped("the process was told to stop")

    told = ""
    with stored.open(wanted.dataset) as opened:
        checkpoints = divisible(opened).checkpoints(label_of(keyring.name, wanted.dataset))
        while True:
            before()
            run, is_open = checkpoints.run() or (None, False)
            if run is not None and run.active > keys.active:
                keys = _newer(stored, keys)
            if run is not None and run.active == keys.active:
                if checkpoints.shards()[wanted.number].done:
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


def _newer(stored: StoredData, keys: KeySet) -> KeySet:
    """The keys as they are now, if another is active since."""
    found = stored.store.inspect()
    active = found.versions.active if found is not None else None
    changed = active is not None and active.number != keys.active
    return stored.keyring().key_set() if changed else keys
