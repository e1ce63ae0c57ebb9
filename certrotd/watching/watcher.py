"""Watching, beside the scheduler and independent of it: it has its own threads and its own time.

It looks while the clock is wrong, while the scheduler is stuck, and at what certrotd does not
manage. It goes by monotonic time alone, so that no jump of the clock stops or hurries it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.finding import DAMAGED, EarlierLooks
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.wing import Check, CheckResult
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure
from certrotd.watching.staggered_schedule import StaggeredSchedule

THREADS = 4
AGAIN = 60.0
SETTLE = 5.0
BEGUN = 60.0
"""For so many seconds after a rotation began no look at it has its turn: its end has one."""
GREETING = 1.0
"""So many seconds after a reload routine looks begin: by then, so has what is due."""


class Watcher(Observer):
    """Looks at everything in turn, a few at a time, and reports to ``observer`` what it finds.

    ``tick`` is to be called every second or so and never waits; ``spawn`` runs a look elsewhere (a
    thread). It hears when a rotation has ended, to see for itself. It reports with its lock held,
    so nothing is reported of what ``replace`` has removed. ``doubt`` hears at once of a subject
    whose files are damaged; it must not wait.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        clock: Clock,
        *,
        observer: Observer,
        spawn: Callable[[str, Callable[[], None]], None],
        doubt: Callable[[Id], None] = lambda _subject: None,
        threads: int = THREADS,
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._spawn = spawn
        self._threads = threads
        self._doubt = doubt
        self._lock = threading.RLock()
        self._held: dict[str, EarlierLooks] = {}
        self._troubled: set[str] = set()
        self._running: set[str] = set()
        self._stopped = False
        self._rotating: dict[Id, float] = {}
        self._begin(checks)

    def _begin(self, checks: Sequence[Check], greeting: float = 0.0) -> None:
        self._checks = {check.label: check for check in checks}
        self._about: dict[Id, list[str]] = {}
        self._soon: list[tuple[float, str]] = []
        self._planned: dict[str, float] = {}
        # what was asked for by name, and what failed, does not wait behind ten thousand others
        self._urgent: dict[str, None] = {}
        self._routine: dict[str, None] = {}
        spans: dict[tuple[bool, float], list[str]] = {}
        for label, check in self._checks.items():
            spans.setdefault((check.routine, check.every), []).append(label)
            if check.about is not None:
                self._about.setdefault(check.about, []).append(label)
        start = self._clock.monotonic()
        starts = {True: start + greeting, False: start}
        self._schedules = [
            (routine, StaggeredSchedule(labels, str, every=every, start=starts[routine]))
            for (routine, every), labels in spans.items()
        ]

    @property
    def running(self) -> int:
        """How many looks are under way."""
        with self._lock:
            return len(self._running)

    def tick(self) -> None:
        """Begin what is due, as far as there are threads for it."""
        with self._lock:
            now = self._clock.monotonic()
            while self._soon and self._soon[0][0] <= now:
                when, label = heapq.heappop(self._soon)
                if self._planned.get(label) == when:
                    del self._planned[label]
                    self._urgent[label] = None
            for routine, schedule in self._schedules:
                queue = self._routine if routine else self._urgent
                due = (each for each in schedule.due(now) if not self._has_just_begun(each, now))
                queue.update(dict.fromkeys(due))
        self._pump()

    def _has_just_begun(self, label: str, now: float) -> bool:
        about = self._checks[label].about
        return about in self._rotating and now - self._rotating[about] < BEGUN

    def began(self, subject: Id, why: str) -> None:  # noqa: ARG002
        """Whatever a look found, the rotation might explain it."""
        with self._lock:
            self._rotating[subject] = self._clock.monotonic()

    def ended(self, report: Report) -> None:
        """Look at the result of a rotation, when the old workers are gone."""
        with self._lock:
            self._rotating.pop(report.subject, None)
        self.changed(report.subject)

    def changed(self, subject: Id) -> None:
        """Look at the result of another process's rotation."""
        with self._lock:
            for label in self._about.get(subject, ()):
                self._look_soon(label, SETTLE)

    def replace(self, checks: Sequence[Check]) -> None:
        """Take another configuration; what it no longer has is reported as unwatched."""
        gone = _keys(self._checks.values()) - _keys(checks)
        with self._lock:
            self._begin(checks, GREETING)
            for key in sorted(gone):
                self._held.pop(key, None)
                self._observer.unwatched(key)
            there = {f"watch {label}" for label in self._checks}
            for what in sorted(self._troubled - there):
                self._troubled.discard(what)
                self._observer.calmed(what)

    def stop(self) -> None:
        """Begin and report no more looks; those under way are not waited for."""
        with self._lock:
            self._stopped = True

    def _look_soon(self, label: str, seconds: float) -> None:
        """Look once more, at the earliest moment that anybody asked for."""
        when = self._clock.monotonic() + seconds
        if self._planned.get(label, when + 1) > when:
            self._planned[label] = when
            heapq.heappush(self._soon, (when, label))

    def _pump(self) -> None:
        while True:
            with self._lock:
                label = self._next()
                if label is None:
                    return
                self._running.add(label)
                job = partial(self._run, self._checks[label])
            try:
                self._spawn(label, job)
            except RuntimeError:  # the system has no thread to give: at the next tick, perhaps
                with self._lock:
                    self._running.discard(label)
                    if label in self._checks:  # else another configuration came in between
                        self._urgent[label] = None
                return

    def _next(self) -> str | None:
        if self._stopped or len(self._running) >= self._threads:
            return None
        for queue in (self._urgent, self._routine):
            for label in queue:
                if label not in self._running:
                    del queue[label]
                    return label
        return None

    def _run(self, check: Check) -> None:
        """One look, in a thread of its own."""
        looks: Sequence[CheckResult] = []
        trouble: Failure | None = None
        try:
            looks = check.look()
        except Exception as error:  # noqa: BLE001  # a defect in one look is not the others' end
            trouble = as_failure(error, f"watch {check.label}")
        with self._lock:
            self._running.discard(check.label)
            if check is self._checks.get(check.label) and not self._stopped:
                self._report(check, looks, trouble)
        self._pump()

    def _report(self, check: Check, looks: Sequence[CheckResult], trouble: Failure | None) -> None:
        what = f"watch {check.label}"
        if trouble is not None:
            self._troubled.add(what)
            self._observer.trouble(what, trouble)
        elif what in self._troubled:
            self._troubled.discard(what)
            self._observer.calmed(what)
        for look in looks:
            damaged = any(each.kind == DAMAGED for each in look.watched.findings)
            if damaged and not look.moving and look.watched.about is not None:
                self._doubt(look.watched.about)
        unsure = [self._tell(look) for look in looks]
        if any(unsure):
            self._look_soon(check.label, min(AGAIN, check.every))

    def _tell(self, look: CheckResult) -> bool:
        """Report what is certain of one look; whether another one is needed soon."""
        key = look.watched.key
        settled = look.settle(self._held.get(key, EarlierLooks()))
        if settled.held.counts:
            self._held[key] = settled.held
        else:
            self._held.pop(key, None)
        self._observer.watched(settled.watched)
        return settled.watched.unsure


def _keys(checks: Iterable[Check]) -> set[str]:
    return {key for check in checks for key in check.watched_keys()}
