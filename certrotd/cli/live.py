"""What is going on, step by step, on standard error: a moving view on a terminal, else lines."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol

from certrotd.cli.output import say
from certrotd.id import Id
from certrotd.rotation.engine import Event

MANY = 20
SPEAK_EVERY = 10.0
"""So many seconds are between two lines about how far a long step has come."""
_SHOWN = frozenset({"done", "waiting", "failed", "undone", "stuck", "reached", "paused"})
_FAILURES = frozenset({"failed", "stuck"})


class Progress(Protocol):
    """Something that hears of every event of every rotation, from several threads."""

    def hear(self, event: Event) -> None: ...


class Lines:
    """A line an event; of many certificates, or when quiet, only the failures."""

    def __init__(self, count: int, *, quiet: bool = False) -> None:
        self._shown = _FAILURES if quiet or count > MANY else _SHOWN
        self._lock = threading.Lock()
        self._spoke = time.monotonic()

    def hear(self, event: Event) -> None:
        now = time.monotonic()
        if event.what == "progress" and "done" in self._shown and now - self._spoke >= SPEAK_EVERY:
            self._spoke = now
            with self._lock:
                say(f"{Id.parse(event.subject).name}: {event.item}: {event.detail}")
        if event.what in self._shown:
            detail = f": {event.detail}" if event.detail else ""
            with self._lock:
                say(f"{Id.parse(event.subject).name}: {event.item} {event.what}{detail}")


class Steps(AbstractContextManager["Steps"]):
    """A bar for every certificate that moves from step to step."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.fields[step]}", markup=False),
            progress.TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, progress.TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def hear(self, event: Event) -> None:
        with self._lock:
            if event.rotation not in self._tasks:
                self._tasks[event.rotation] = self._progress.add_task(
                    Id.parse(event.subject).name, total=event.size, step=event.detail
                )
            task = self._tasks[event.rotation]
            if event.index < 0:
                return
            step = event.detail if event.what == "progress" else event.what
            self._progress.update(task, completed=event.index, step=f"{event.item} {step}")
            if event.what in _FAILURES:
                self._progress.console.print(
                    f"{Id.parse(event.subject).name}: {event.item} {event.what}: {event.detail}",
                    markup=False,
                )
            elif event.what == "done" and event.index == event.size - 1:
                self._progress.update(task, completed=event.size, step="done")


def progress_of(count: int, *, quiet: bool = False) -> AbstractContextManager[Progress]:
    """What fits where standard error goes; ``quiet`` shows failures alone."""
    if not quiet and sys.stderr.isatty() and count <= MANY:
        return Steps()
    return nullcontext(Lines(count, quiet=quiet))
