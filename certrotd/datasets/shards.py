"""Shards: ranges of the keys of a dataset, of which each is one worker's at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from certrotd.datasets.port import Dataset, Key
from certrotd.datasets.reencryption import Pace, Passed, Position
from certrotd.datasets.row_values import Quarantined
from certrotd.errors import Transient


class LeaseLost(Transient):
    """Another worker has the shard by now, or nobody is to have it: what was begun is not kept."""


@dataclass(frozen=True)
class Part:
    """The rows behind ``low`` and up to ``high``, in the order of their keys (None: all)."""

    low: Key | None = None
    high: Key | None = None


def parts_between(bounds: Sequence[Key]) -> Sequence[Part]:
    """Those that some keys divide all rows into, the first and the last without an end."""
    lows: list[Key | None] = [None, *bounds]
    highs: list[Key | None] = [*bounds, None]
    return [Part(low, high) for low, high in zip(lows, highs, strict=True)]


def last_rows(rows: int, into: int) -> Sequence[int]:
    """Which of so many rows, counted from 1, is the last of each part but the last one.

    The parts differ by one row at most; there are fewer if there are fewer rows.
    """
    return sorted({rows * n // into for n in range(1, into)} - {0, rows})


@dataclass(frozen=True)
class Shard:
    """A shard as it is kept: ``done`` once its worker has come to the end of its part.

    ``held``: a worker has it now. ``passed`` is what could not be re-encrypted, as far as the
    worker that came to the end knows.
    """

    number: int
    part: Part
    position: Position
    done: bool = False
    held: bool = False
    passed: Passed = field(default_factory=partial(Passed, 0, ()))


class Books(Protocol):
    """What a dataset keeps beside the rows that it writes, in the transaction of each batch."""

    def begin(self, connection: Any) -> None:
        """Before rows are written; raises LeaseLost, and then none are."""
        ...

    def end(self, connection: Any, last: Key, *, whole: bool, rows: int) -> None:
        """After so many rows were written, in the order of their keys, ``last`` at the end.

        ``whole``: all of those that were to be written.
        """
        ...


class Lease(Books, Protocol):
    """A shard while this process has it."""

    @property
    def shard(self) -> Shard: ...

    @property
    def holders(self) -> int:
        """How many workers have a shard of the same run, this one included."""
        ...

    def keep(self, position: Position) -> None:
        """Make durable how far it is; raises LeaseLost."""
        ...

    def renew(self) -> None:
        """Have it for longer; raises LeaseLost."""
        ...

    def finish(self, passed: Passed) -> None:
        """It is done; raises LeaseLost."""
        ...

    def release(self) -> None:
        """Let others have it, if it is still held and not done."""
        ...


@dataclass(frozen=True)
class Run:
    """One pass over a dataset in shards: ``name`` tells it from every other.

    ``active`` is the key version that everything comes under.
    """

    name: str
    active: int


class Checkpoints(Protocol):
    """Where the shards of a dataset and their leases are kept, for all workers."""

    def prepare(self) -> None:
        """Make the place, if it is not there; raises Failure."""
        ...

    def open(self, run: Run, parts: Callable[[], Sequence[Part]], shards: int) -> None:
        """Have workers take the shards of that run.

        It goes on where it is the one that is there; else another is replaced, whose workers lose
        their leases.
        """
        ...

    def pause(self, run: Run) -> None:
        """Have every worker lose its lease, and take none before the run is opened again."""
        ...

    def run(self) -> tuple[Run, bool] | None:
        """The last run, and whether shards can be taken; None if there was none."""
        ...

    def shards(self) -> Sequence[Shard]:
        """Those of the last run."""
        ...

    def take(self, run: Run, number: int | None, holder: str) -> Lease | None:
        """A shard of the run, or that one, that nobody has; None if there is none."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A dataset of which several workers can each re-encrypt a part."""

    @property
    def one_writer(self) -> bool:
        """Whether only one at a time can, all the same."""
        ...

    def divided(self, into: int, done: Sequence[bytes]) -> Sequence[Part]:
        """Parts with about as many rows to re-encrypt each, at most so many."""
        ...

    def part(self, part: Part, books: Books | None = None) -> Dataset:
        """The rows of that part alone."""
        ...

    def checkpoints(self, label: str) -> Checkpoints:
        """Where it keeps its shards, under that name."""
        ...


@dataclass(frozen=True)
class Division:
    """How the configuration has a dataset divided, and whether its checkpoints are in a table."""

    table: bool = False
    shards: int | None = None


@dataclass(frozen=True)
class SharedPace(Pace):
    """A pace of which each of ``workers`` has a part."""

    workers: Callable[[], int] = lambda: 1

    def rest(self, rows: int, took: float, wrote: float) -> float:
        """As Pace.rest."""
        if self.rows_per_second is None:
            return super().rest(rows, took, wrote)
        own = replace(self, rows_per_second=self.rows_per_second / max(1, self.workers()))
        return Pace.rest(own, rows, took, wrote)


def shared(pace: Pace, workers: Callable[[], int]) -> Pace:
    """A pace for one of several workers, who are processes enough."""
    processes = pace.processes if workers() <= 1 else 0
    return SharedPace(
        pace.batch, pace.rows_per_second, pace.pause, pace.latency, processes, workers
    )


def together(passed: Sequence[Passed], most: int) -> Passed:
    """What several passes over parts left alone, of which so many are listed."""
    listed: list[Quarantined] = [one for each in passed for one in each.quarantined]
    seen = sum(each.seen for each in passed)
    return Passed(sum(each.count for each in passed), tuple(listed[:most]), seen)
