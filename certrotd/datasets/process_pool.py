"""Re-encryption in several processes, for codecs whose work is the processor's: KDFs above all.

The processes are programs of their own, not forks: a daemon has threads, whose locks a fork would
inherit. Each is given the keys once, over a pipe that nobody else has, and ends when that is
closed, however this process ends.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from certrotd import process
from certrotd.clock import thread_seconds
from certrotd.datasets.port import Change, Row
from certrotd.datasets.process_child import looked_at, told
from certrotd.datasets.row_values import Batch, Quarantined, Seen, SeenIndex
from certrotd.datasets.values import Form
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.material import KeySet

T = TypeVar("T")
CHILD = Path(__file__).with_name("process_child.py")
WORTH = 1.0
"""Processes begin once the rows have taken so many seconds in this one: small tables need none."""
CHEAP = 20e-6
SHARE = 10e-6
"""Seconds of a row: less stays in this process, and one process more comes for each so many."""
MOST = 4
"""So many begin without being asked for: each takes some 25 MiB."""


def processes_for(rows: int, seconds: float, cores: int) -> int:
    """How many processes should encrypt, once so many rows took so many seconds in this one."""
    if seconds < WORTH or cores < 2 or seconds / rows < CHEAP:
        return 0
    return min(cores, MOST, math.ceil(seconds / rows / SHARE))


@contextmanager
def row_values(
    form: Form,
    keys: KeySet,
    processes: int | None = None,
    *,
    worked: Callable[[], float] = thread_seconds,
) -> Iterator[Spread]:
    """What looks at rows while it is used: in so many processes, or (None) as many as pay.

    ``worked`` tells how long this thread has used a processor.
    """
    spread = Spread(form, keys, processes if form.travels else 0, worked)
    try:
        yield spread
    finally:
        spread.close()


class Spread:
    """Looks at rows of values: in this process, until others pay."""

    def __init__(
        self, form: Form, keys: KeySet, processes: int | None, worked: Callable[[], float]
    ) -> None:
        self._form = form
        self._keys = keys
        self._own = form.values(keys)
        self._worked = worked
        self._sizes_itself = processes is None
        self._rows, self._seconds = 0, 0.0
        self._children: list[_Child] = []
        self._start(processes or 0)

    def reencrypted(self, rows: Sequence[Row]) -> Batch:
        """As RowValues.reencrypted."""
        if not self._children:
            return self._timed(len(rows), lambda: self._own.reencrypted(rows))
        changes: list[Change] = []
        quarantined: list[Quarantined] = []
        messages = size = 0
        for part, (changed, left, *used) in self._asked("reencrypt", rows):
            changes += (Change(part[number], values) for number, values in changed)
            quarantined += left
            messages, size = messages + used[0], size + used[1]
        return Batch(tuple(changes), tuple(quarantined), messages, size)

    def looked_at(self, rows: Sequence[Row]) -> Sequence[Seen | SeenIndex | Quarantined]:
        """As RowValues.looked_at, of every row; without plaintexts."""
        if not self._children:
            return self._timed(len(rows), lambda: looked_at(self._own, rows))
        return list(chain.from_iterable(seen for _, seen in self._asked("look", rows)))

    def close(self) -> None:
        """End the processes."""
        for each in self._children:
            each.close()
        self._children = []

    def _timed(self, rows: int, act: Callable[[], T]) -> T:
        begun = self._worked()
        found = act()
        self._rows, self._seconds = self._rows + rows, self._seconds + self._worked() - begun
        if self._sizes_itself:
            cores = len(os.sched_getaffinity(0))
            self._start(processes_for(self._rows, self._seconds, cores))
        return found

    def _start(self, count: int) -> None:
        for _ in range(count):
            self._children.append(_Child(self._form, self._keys))

    def _asked(self, act: str, rows: Sequence[Row]) -> list[tuple[Sequence[Row], Any]]:
        """Each part of the rows, and what a process answers."""
        size = max(1, math.ceil(len(rows) / len(self._children)))
        parts = [rows[n : n + size] for n in range(0, len(rows), size)]
        asked = list(zip(self._children, parts, strict=False))
        for child, part in asked:
            child.ask(act, part)
        return [(part, child.answer()) for child, part in asked]


class _Child:
    """One process."""

    def __init__(self, form: Form, keys: KeySet) -> None:
        try:
            self._process = process.start(
                # -P: the folder of the program is not where modules come from
                [sys.executable, "-P", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                start_new_session=True,  # Ctrl-C ends it with this process, after the batch
            )
        except OSError as error:
            raise process.unstarted("a process that encrypts", error) from None
        self._send(told(form, keys))

    def ask(self, act: str, rows: Sequence[Row]) -> None:
        """Have it look at rows; raises Transient."""
        self._send((act, [(each.key, each.values, each.trouble) for each in rows]))

    def answer(self) -> Any:
        """What came of it; raises Transient, and NeedsOperator for what should never happen."""
        assert self._process.stdout is not None
        try:
            found = pickle.load(self._process.stdout)  # noqa: S301  # a process of this one
        except (EOFError, pickle.UnpicklingError, OSError):
            raise self._gone() from None
        if isinstance(found, str):
            raise NeedsOperator(f"a process that encrypts failed: {found}")
        return found

    def close(self) -> None:
        """End it: whatever it does is for nobody."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        for each in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                each.close() if each is not None else None
        self._process.wait()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None

    def _gone(self) -> Transient:
        return Transient("a process that encrypts has ended", hint="was memory short?")
