"""What has to be looked after at the start and once an hour, whatever is due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure

EVERY = 3600.0


class Upkeep:
    """Does each of ``jobs()``, by what it is about, and reports its trouble until it is over.

    ``tick`` is to be called every second or so and never waits; ``spawn`` runs them elsewhere (a
    thread), one run at a time. While they ``may`` not, what is due waits.
    """

    def __init__(
        self,
        jobs: Callable[[], Mapping[str, Callable[[], object]]],
        clock: Clock,
        *,
        observer: Observer,
        spawn: Callable[[str, Callable[[], None]], None],
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self._jobs = jobs
        self._clock = clock
        self._observer = observer
        self._spawn = spawn
        self._may = may
        self._busy = threading.Lock()
        self._due = clock.monotonic()
        self._troubled: dict[str, bool] = {}

    def tick(self) -> None:
        """Begin a run if one is due and none is under way."""
        now = self._clock.monotonic()
        if now < self._due or not self._may() or not self._busy.acquire(blocking=False):
            return
        self._due = now + EVERY
        try:
            self._spawn("upkeep", self._run)
        except RuntimeError:  # the system has no thread to give: the next tick tries again
            self._due = now
            self._busy.release()

    def _run(self) -> None:
        try:
            for what, job in self._jobs().items():
                self._do(what, job)
        finally:
            self._busy.release()

    def _do(self, what: str, job: Callable[[], object]) -> None:
        try:
            job()
        except (Failure, OSError) as error:
            self._observer.trouble(what, as_failure(error, f"look after {what}"))
            self._troubled[what] = True
        else:
            if self._troubled.get(what, True):  # an earlier process may have reported one
                self._observer.calmed(what)
            self._troubled[what] = False
