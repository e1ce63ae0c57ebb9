"""One pass over a dataset: batch after batch under the active key, never over a write of others.

A batch is one transaction. It compares each row with what was read; a row that somebody wrote
meanwhile is read again and looked at anew. Whatever ends the process between two batches loses
nothing: what is done already is not touched a second time. Where the place allows it, the next
batch is read and encrypted on another connection while one is written.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from certrotd.clock import Clock
from certrotd.datasets.census import MOST_LISTED, beginnings_of
from certrotd.datasets.port import (
    Busy,
    Change,
    Dataset,
    Key,
    Overlapping,
    Refused,
    Row,
    Sweeping,
)
from certrotd.datasets.process_pool import Spread, row_values
from certrotd.datasets.row_values import Batch, Quarantined
from certrotd.datasets.values import Form
from certrotd.keyring.material import KeySet

TRIES = 8
"""So often a batch is tried that others keep busy, and a row that others keep writing."""
BATCHES_TRIED = 3
"""So many are read and encrypted in memory, to tell how long a pass takes."""
NAP = 0.25
"""Before the second try, in seconds; the double before each further one."""
Ahead = Callable[[], tuple[Sequence[Row], Batch]]
"""The next rows and what they are to be, once they are asked for; raises Failure."""


@dataclass(frozen=True)
class Pace:
    """How fast a pass goes: rows a batch at most, and rows a second (None: as fast as it can).

    It rests for ``pause`` after a batch. Writing one is to take no longer than ``latency``, in
    seconds, too: else the next batches are smaller. ``processes`` encrypt, None: as many as pay.
    """

    batch: int = 1000
    rows_per_second: float | None = None
    pause: float = 0.0
    latency: float | None = None
    processes: int | None = None

    @property
    def limits(self) -> bool:
        """Whether it holds anything up."""
        return bool(self.rows_per_second or self.pause or self.latency is not None)

    def size(self, last: int, took: float) -> int:
        """How many rows the next batch has, after one of ``last`` was written in ``took``."""
        if self.latency is None:
            return self.batch
        if took > self.latency:
            return max(1, last // 2)
        return min(self.batch, last * 2) if took < self.latency / 2 else last

    def rest(self, rows: int, took: float, wrote: float) -> float:
        """How long nothing is done after a batch that took so long, its writing included."""
        slow = wrote if self.latency is not None and wrote > self.latency else 0.0
        rate = rows / self.rows_per_second - took if self.rows_per_second is not None else 0.0
        return max(0.0, self.pause, slow, rate)


@dataclass(frozen=True)
class Position:
    """How far a pass has come: behind the row ``after`` (None: at the beginning)."""

    after: Key | None = None
    seen: int = 0


@dataclass(frozen=True)
class Passed:
    """What a whole pass did not re-encrypt: how many values, and some of them.

    ``seen`` is how many rows it has read, those before where it began among them.
    """

    count: int
    quarantined: tuple[Quarantined, ...]
    seen: int = 0


class Pass:
    """A pass over one dataset; ``messages``, of ``size`` bytes, are what the active key encrypted.

    ``before`` comes before every batch and every write, and raises what ends the pass. Without
    ``writes`` everything is read, opened and encrypted, and dropped.
    """

    def __init__(
        self,
        dataset: Dataset,
        form: Form,
        keys: KeySet,
        clock: Clock,
        pace: Pace,
        before: Callable[[], None] = lambda: None,
        *,
        writes: bool = True,
    ) -> None:
        self._dataset = dataset
        self._form = form
        self._keys = keys
        self.done = beginnings_of(form, keys).get(keys.active, ())
        self._clock = clock
        self._pace = pace
        self._before = before
        self._writes = writes
        self._wrote = 0.0
        self._next = pace.batch
        self._encrypting = threading.Lock()
        self.messages = self.size = 0

    def run(
        self,
        position: Position | None = None,
        keep: Callable[[Position], None] = lambda _position: None,
    ) -> Passed:
        """From ``position`` to the end; ``keep`` is told after each batch. Raises Failure."""
        position, count, listed = position or Position(), 0, list[Quarantined]()
        if self._writes and isinstance(self._dataset, Sweeping):
            self._before()
            self._dataset.sweep()
        with (
            row_values(self._form, self._keys, self._pace.processes) as values,
            self._reading(values) as read,
        ):
            ahead = read(position.after)
            while True:
                self._before()
                begun, self._wrote = self._clock.monotonic(), 0.0
                rows, batch = ahead()
                if not rows:
                    return Passed(count, tuple(listed), position.seen)
                ahead = read(rows[-1].key)
                quarantined = self._batch(batch, values)
                count += len(quarantined)
                listed += quarantined[: max(0, MOST_LISTED - len(listed))]
                position = Position(rows[-1].key, position.seen + len(rows))
                keep(position)
                took = self._clock.monotonic() - begun
                self._next = self._pace.size(self._next, self._wrote)
                self._clock.sleep(self._pace.rest(len(rows), took, self._wrote))

    @contextmanager
    def _reading(self, values: Spread) -> Iterator[Callable[[Key | None], Ahead]]:
        """How the rows behind a key are read: at once and beside, else not before they are needed.

        What is read early is older when it is written: not where the pace holds writing up.
        """

        def read(after: Key | None) -> tuple[Sequence[Row], Batch]:
            rows = self._dataset.rows(after, self._next, self.done)
            return rows, self._reencrypted(rows, values)

        dataset = self._dataset
        early = isinstance(dataset, Overlapping) and dataset.reads_while_writing
        if not (self._writes and early) or self._pace.limits:
            yield lambda after: partial(read, after)
            return
        with ThreadPoolExecutor(1, "reading") as pool:
            yield lambda after: pool.submit(read, after).result

    def _batch(self, batch: Batch, values: Spread) -> Sequence[Quarantined]:
        """What of the rows cannot be re-encrypted; what others keep writing is for a later pass."""
        quarantined: list[Quarantined] = []
        for _ in range(TRIES):
            self.messages, self.size = self.messages + batch.messages, self.size + batch.size
            quarantined += batch.quarantined
            if not self._writes:
                break
            written, refused = self._isolating(batch.changes)
            quarantined += refused
            keys = {each.row.key for each in batch.changes} - {each.key for each in refused}
            if written == len(keys):
                break
            rows = self._dataset.again([c.row.key for c in batch.changes if c.row.key in keys])
            batch = self._reencrypted(rows, values)
        return list({(each.key, each.field, each.why): each for each in quarantined}.values())

    def _reencrypted(self, rows: Sequence[Row], values: Spread) -> Batch:
        """What they are to be; meanwhile the next rows are perhaps read on another thread."""
        with self._encrypting:
            return values.reencrypted(rows)

    def _isolating(self, changes: Sequence[Change]) -> tuple[int, list[Quarantined]]:
        """How many were written, and what the dataset refuses, which holds up no other row."""
        if not changes:
            return 0, []
        try:
            return self._replace(changes), []
        except Refused as refused:
            if len(changes) == 1:
                return 0, list(_refusal(changes[0], refused.message))
        half = len(changes) // 2
        first, some = self._isolating(changes[:half])
        second, more = self._isolating(changes[half:])
        return first + second, some + more

    def _replace(self, changes: Sequence[Change]) -> int:
        nap = NAP
        for _ in range(TRIES - 1):
            try:
                return self._write(changes)
            except Busy:
                self._clock.sleep(nap)
                nap *= 2
        return self._write(changes)

    def _write(self, changes: Sequence[Change]) -> int:
        self._before()
        begun = self._clock.monotonic()
        try:
            return self._dataset.replace(changes)
        finally:
            self._wrote = max(self._wrote, self._clock.monotonic() - begun)


def _refusal(change: Change, why: str) -> Iterator[Quarantined]:
    """Every value of a row that was not written."""
    for field, value in enumerate(change.values):
        if value != change.row.values[field]:
            yield Quarantined(change.row.key, field, why)


@dataclass(frozen=True)
class Trial:
    """What a pass would look at: so many rows, which takes so many seconds at least.

    ``growth`` is by how many bytes the values of each field became longer, at most.
    """

    rows: int
    tried: int
    seconds: float
    growth: Mapping[int, int]


def trial(dataset: Dataset, form: Form, keys: KeySet, pace: Pace, clock: Clock) -> Trial:
    """By reading and re-encrypting a few batches in memory; nothing is written."""
    values, done = form.values(keys), beginnings_of(form, keys).get(keys.active, ())
    rows = dataset.remaining(done)
    begun, seen, after = clock.monotonic(), 0, None
    growth: dict[int, int] = {}
    for _ in range(BATCHES_TRIED):
        if not (batch := dataset.rows(after, pace.batch, done)):
            break
        for change in values.reencrypted(batch).changes:
            for field, (new, old) in enumerate(zip(change.values, change.row.values, strict=True)):
                growth[field] = max(growth.get(field, 0), len(new or b"") - len(old or b""))
        seen, after = seen + len(batch), batch[-1].key
    seconds = (clock.monotonic() - begun) * rows / seen if seen else 0.0
    seconds += math.ceil(rows / pace.batch) * pace.pause
    least = rows / pace.rows_per_second if pace.rows_per_second else 0.0
    return Trial(rows, seen, max(seconds, least), growth)
