"""Passes over a dataset in shards: by this process, by others that share a table with it, by Dask.

The coordinator has the keyring's lock and the journal. It opens the run, has the shards worked on
until each is done, and then takes the census, which alone says what is left. What workers say they
did is progress.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keys.reencrypting import KEEP_EVERY, Advice, Passes
from certrotd.keys.shard_work import Answer, Task, divisible, label_of, of_run, work_of, work_on
from certrotd.rotation.step import JSON, Ledger

if TYPE_CHECKING:
    from certrotd.datasets.reencryption import Passed
    from certrotd.datasets.shards import Checkpoints, Part, Run, Shard
    from certrotd.keys.workforce import Workforce

POLL = 0.5
STRETCH = 15.0
"""Without a table, a worker that nobody hears of goes on for so many seconds at most."""
TRIES = 5
"""So often a shard is begun by workers that fail, before the whole pass does."""
NOBODY = 120.0
"""So many seconds a pass goes on without any worker."""
PER_WORKER = 4
"""So many shards there are for each worker, unless the configuration says: a lost one is small."""
MOST_JOURNALED = 32
"""So many shards fit into a checkpoint of the journal."""
LISTED = 100


def holder() -> str:
    """This process, for people."""
    return f"{socket.gethostname()}:{os.getpid()}"


class ShardRun(Protocol):
    """The shards of one pass, wherever they are kept."""

    def open(self) -> None:
        """Have them worked on, from where they are; raises Failure."""
        ...

    def look(self) -> Sequence[Shard]:
        """As they are now."""
        ...

    def task(self, shard: Shard, workers: int) -> Task:
        """What a worker is told of one."""
        ...

    def told(self, task: Task, answer: Answer) -> None:
        """What a worker said of it."""
        ...

    def kept(self) -> Mapping[str, JSON]:
        """What the journal keeps of them."""
        ...

    def pause(self) -> None:
        """Have nobody work on them any more."""
        ...


@dataclass(frozen=True)
class TableRun:
    """ShardRun, in a table beside the rows: other processes may work on them, too."""

    dataset: str
    run: Run
    checkpoints: Checkpoints
    parts: Callable[[int], Sequence[Part]]
    shards: int

    def open(self) -> None:
        self.checkpoints.prepare()
        self.checkpoints.open(self.run, lambda: self.parts(self.shards), self.shards)

    def look(self) -> Sequence[Shard]:
        return self.checkpoints.shards()

    def task(self, shard: Shard, workers: int) -> Task:
        number, active, name = shard.number, self.run.active, self.run.name
        return Task(self.dataset, number, active, name, workers=workers, of=of_run(name))

    def told(self, task: Task, answer: Answer) -> None:
        """The table knows."""

    def kept(self) -> Mapping[str, JSON]:
        return {"run": self.run.name, "active": self.run.active}

    def pause(self) -> None:
        with suppress(Failure):  # the next run takes the shards from whoever has them
            self.checkpoints.pause(self.run)


class JournalRun:
    """ShardRun, in the journal's checkpoint: only what this process begins works on them."""

    def __init__(
        self,
        dataset: str,
        run: Run,
        ledger: Ledger,
        parts: Callable[[int], Sequence[Part]],
        shards: int,
    ) -> None:
        self._dataset = dataset
        self._run = run
        self._ledger = ledger
        self._parts = parts
        self._number = min(shards, MOST_JOURNALED)
        self._shards: dict[int, Shard] = {}

    def open(self) -> None:
        from certrotd.datasets.keys import key_from_json
        from certrotd.datasets.reencryption import Passed, Position
        from certrotd.datasets.shards import Part, Shard

        kept = self._ledger.kept
        same = kept.get("run") == self._run.name and kept.get("active") == self._run.active
        told: Any = kept.get("shards") if same else None
        if told is None:
            for n, part in enumerate(self._parts(self._number)):
                self._shards[n] = Shard(n, part, Position(part.low))
            return
        for n, (after, high, seen, done, left) in enumerate(told):
            low, end = (None if each is None else key_from_json(each) for each in (after, high))
            position, passed = Position(low, seen), Passed(left, (), seen)
            self._shards[n] = Shard(n, Part(low, end), position, done=done, passed=passed)

    def look(self) -> Sequence[Shard]:
        return list(self._shards.values())

    def task(self, shard: Shard, workers: int) -> Task:
        after, high = _json(shard.position.after), _json(shard.part.high)
        return Task(
            self._dataset,
            shard.number,
            self._run.active,
            after=after,
            high=high,
            seen=shard.position.seen,
            seconds=STRETCH,
            workers=workers,
            of=of_run(self._run.name),
        )

    def told(self, task: Task, answer: Answer) -> None:
        from certrotd.datasets.keys import key_from_json
        from certrotd.datasets.reencryption import Passed, Position
        from certrotd.datasets.row_values import Quarantined

        if answer.failed:
            return
        shard = self._shards[task.number]
        after = shard.position.after if answer.after is None else key_from_json(answer.after)
        listed = tuple(Quarantined(key_from_json(k), field, why) for k, field, why in answer.listed)
        before, left = shard.passed, answer.left_alone
        self._shards[task.number] = replace(
            shard,
            position=Position(after, answer.seen),
            done=answer.done,
            passed=Passed(before.count + left, (*before.quarantined, *listed), answer.seen),
        )

    def kept(self) -> Mapping[str, JSON]:
        shards = [
            [_json(e.position.after), _json(e.part.high), e.position.seen, e.done, e.passed.count]
            for e in self._shards.values()
        ]
        return {"run": self._run.name, "active": self._run.active, "shards": shards}

    def pause(self) -> None:
        """What still runs ends by its time, and writes over nothing that others wrote."""


def _json(key: Any) -> Any:
    from certrotd.datasets.keys import key_to_json

    return None if key is None else key_to_json(key)


def passes_of(passes: Passes) -> Passes:
    """The passes, in shards where the configuration or the command wants that."""
    from certrotd.datasets.shards import Divisible

    dataset, workers = passes.opened.dataset, passes.world.workers
    if not isinstance(dataset, Divisible):
        return passes
    if dataset.one_writer:
        workers = None
    if workers is None and not passes.opened.division.table:
        return passes
    every = {each: getattr(passes, each) for each in passes.__dataclass_fields__}
    return ShardedPasses(**every, workers=workers)


@dataclass(frozen=True)
class ShardedPasses(Passes):
    """Passes in shards, by ``workers``, or by this process and whoever shares the table."""

    workers: Callable[[], Workforce] | None = None

    def _pass(self, number: int, *, writes: bool = True) -> Passed:
        if not writes:
            return super()._pass(number, writes=False)
        from certrotd.datasets.shards import together

        if self.workers is None:
            run, total = self._opened(number, None)
            self._guarded(run, lambda: self._alone(run, total))
        else:
            with self.workers() as force:
                run, total = self._opened(number, force)
                self._guarded(run, lambda: self._directing(run, total, force))
        shards = run.look()
        # each row that was read, whether or not something in it was encrypted: never too little
        self.count(sum(e.position.seen for e in shards) * len(self.opened.dataset.fields), 0)
        return together([each.passed for each in shards], LISTED)

    def _opened(self, number: int, force: Workforce | None) -> tuple[ShardRun, int]:
        """The run, worked on from now on, and how many rows it is about."""
        run = self._run(number, force)
        run.open()
        dataset = self.opened.dataset
        seen, left = sum(e.position.seen for e in run.look()), dataset.remaining(self._done)
        self.check_limit(left)
        return run, seen + left

    def _guarded(self, run: ShardRun, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            run.pause()

    @property
    def _done(self) -> Sequence[bytes]:
        """How what is under the active key begins."""
        from certrotd.datasets.census import beginnings_of

        return beginnings_of(self.opened.form, self.keys).get(self.keys.active, ())

    def _run(self, number: int, force: Workforce | None) -> ShardRun:
        from certrotd.datasets.shards import Run

        dataset, division = divisible(self.opened), self.opened.division
        shards = division.shards or (PER_WORKER * force.count if force is not None else 1)
        of = work_of(self.opened, self.world.keyring(), self.keys.active)
        run = Run(f"{self.ledger.rotation}.{number}.{of}", self.keys.active)

        def parts(into: int) -> Sequence[Part]:
            found: Sequence[Part] = dataset.divided(into, self._done)
            return found

        if division.table:
            checkpoints = dataset.checkpoints(label_of(self.world.name, self.dataset))
            return TableRun(self.dataset, run, checkpoints, parts, shards)
        return JournalRun(self.dataset, run, self.ledger, parts, shards)

    def _alone(self, run: ShardRun, total: int) -> None:
        """Work on one shard after the other, beside whoever works on others."""
        from certrotd.datasets.shards import LeaseLost

        assert isinstance(run, TableRun), "the other is for workers"
        before, progress = self._before(), _Progress(self, run, total)
        while not progress.is_over():
            before()
            lease = run.checkpoints.take(run.run, None, holder())
            if lease is None:
                self.world.clock.sleep(POLL)
                continue
            with suppress(LeaseLost):
                work_on(lease, self.opened, self.keys, self.world.clock, before, progress.tell)

    def _directing(self, run: ShardRun, total: int, force: Workforce) -> None:
        """Have the workers take shards until all are done."""
        clock, before, progress = self.world.clock, self._before(), _Progress(self, run, total)
        tries: dict[int, int] = {}
        rests: dict[int, float] = {}
        flying: set[int] = set()
        seen = clock.monotonic()
        while True:
            before()
            now = clock.monotonic()
            for task, answer in force.ended():
                flying.discard(task.number)
                run.told(task, answer)
                if answer.failed:
                    tries[task.number] = tries.get(task.number, 0) + 1
                    rests[task.number] = now + 2.0 ** tries[task.number]
                    _raise(answer, tries[task.number])
            if progress.is_over():
                return
            seen = now if force.count else seen
            if now - seen > NOBODY:
                raise Transient(f"no worker re-encrypts {self.dataset}: none is left")
            for shard in run.look():
                free = not (shard.done or shard.held or shard.number in flying)
                if free and rests.get(shard.number, 0.0) <= now:
                    force.begin(run.task(shard, force.count))
                    flying.add(shard.number)
            clock.sleep(POLL)


class _Progress:
    """How far a run is, which the journal keeps now and then."""

    def __init__(self, passes: Passes, run: ShardRun, total: int) -> None:
        seen = sum(each.position.seen for each in run.look())
        self._clock = passes.world.clock
        self._ledger = passes.ledger
        self._run = run
        self._total = total
        self._advice = Advice(passes.opened.dataset, seen, total)
        self._last = self._clock.monotonic()

    def is_over(self) -> bool:
        """Whether every shard is done."""
        self.tell()
        return all(each.done for each in self._run.look())

    def tell(self) -> None:
        """Keep it, if that was long ago."""
        if self._clock.monotonic() - self._last < KEEP_EVERY:
            return
        self._last = self._clock.monotonic()
        seen = sum(each.position.seen for each in self._run.look())
        kept = {**self._run.kept(), "advice": self._advice.at(seen)}
        self._ledger.checkpoint(kept, done=seen, total=max(self._total, seen))


def _raise(answer: Answer, tries: int) -> None:
    """Raise what a worker failed for, if that is not to be tried again."""
    if not answer.again:
        raise NeedsOperator(answer.failed, hint=answer.hint)
    if tries >= TRIES:
        raise Transient(answer.failed, hint=answer.hint)
