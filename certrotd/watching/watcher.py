"""Watching, beside the renewer and independent of it: it has its own threads and its own time.

It looks while the clock is wrong, while the scheduler is stuck, and at what certrotd does not
manage. It goes by monotonic time alone, so that no jump of the clock stops or hurries it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from functools import partial

from certrotd.certs.checks import CheckResult, Subject, Watches
from certrotd.certs.watching import settle
from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.finding import DAMAGED, EarlierLooks
from certrotd.lifecycle.report import Report
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure
from certrotd.watching.staggered_schedule import StaggeredSchedule

THREADS = 4
AGAIN = 60.0
SETTLE = 5.0


class Watcher(Observer):
    """Looks at everything in turn, a few at a time, and tells the observer what it finds.

    ``tick`` is to be called every second or so and never waits; ``spawn`` runs a look elsewhere (a
    thread). It hears when a rotation has ended, to see for itself. It tells with its lock held, so
    that nothing is told of what ``replace`` has taken away. ``doubt`` hears at once of a
    certificate whose files are damaged; it must not wait.
    """

    def __init__(
        self,
        watches: Watches,
        clock: Clock,
        *,
        observer: Observer,
        spawn: Callable[[str, Callable[[], None]], None],
        doubt: Callable[[Id], None] = lambda _certificate: None,
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
        self._running: set[Subject] = set()
        self._stopped = False
        self._begin(watches)

    def _begin(self, watches: Watches) -> None:
        self._watches = watches
        self._soon: list[tuple[float, int, Subject]] = []
        self._planned: dict[Subject, float] = {}
        self._count = 0
        # what was asked for by name, and what failed, does not wait behind ten thousand others
        self._urgent: dict[Subject, None] = {}
        self._routine: dict[Subject, None] = {}
        spans: dict[float, list[Subject]] = {}
        for entry in watches.entries:
            spans.setdefault(watches.every(entry), []).append(entry)
        start = self._clock.monotonic()
        schedule = partial(StaggeredSchedule[Subject], label=label_of, start=start)
        self._entries = [schedule(members, every=every) for every, members in spans.items()]
        certificates: list[Subject] = list(watches.certificates)
        every = watches.every(certificates[0]) if certificates else AGAIN
        self._files = schedule(certificates, every=every)

    @property
    def running(self) -> int:
        """How many looks are under way."""
        with self._lock:
            return len(self._running)

    def tick(self) -> None:
        """Take up what is due, as far as there are threads for it."""
        with self._lock:
            now = self._clock.monotonic()
            while self._soon and self._soon[0][0] <= now:
                when, _, subject = heapq.heappop(self._soon)
                if self._planned.get(subject) == when:
                    del self._planned[subject]
                    self._urgent[subject] = None
            for schedule in self._entries:
                self._urgent.update(dict.fromkeys(schedule.due(now)))
            self._routine.update(dict.fromkeys(self._files.due(now)))
        self._pump()

    def ended(self, report: Report) -> None:
        """See what a rotation came to, when the old workers are gone."""
        self.changed(report.subject)

    def changed(self, subject: Id) -> None:
        """See what somebody else's rotation came to."""
        with self._lock:
            for concerned in self._watches.concerned(subject):
                self._look_soon(concerned, SETTLE)

    def replace(self, watches: Watches) -> None:
        """Go on with another configuration; what it has no more is told to be void."""
        gone = _keys(self._watches) - _keys(watches)
        with self._lock:
            self._begin(watches)
            for key in sorted(gone):
                self._held.pop(key, None)
                self._observer.unwatched(key)
            there = {f"watch {label_of(each)}" for each in _subjects(watches)}
            for what in sorted(self._troubled - there):
                self._troubled.discard(what)
                self._observer.calmed(what)

    def stop(self) -> None:
        """Begin no look any more, and tell of none; those under way are not waited for."""
        with self._lock:
            self._stopped = True

    def _look_soon(self, subject: Subject, seconds: float) -> None:
        """Once, at the earliest moment that anybody asked for."""
        when = self._clock.monotonic() + seconds
        if self._planned.get(subject, when + 1) > when:
            self._planned[subject] = when
            self._count += 1  # two subjects are never compared
            heapq.heappush(self._soon, (when, self._count, subject))

    def _pump(self) -> None:
        while True:
            with self._lock:
                subject = self._next()
                if subject is None:
                    return
                self._running.add(subject)
                job = partial(self._run, subject, self._watches)
            try:
                self._spawn(label_of(subject), job)
            except RuntimeError:  # the system has no thread to give: at the next tick, perhaps
                with self._lock:
                    self._running.discard(subject)
                    self._urgent[subject] = None
                return

    def _next(self) -> Subject | None:
        if self._stopped or len(self._running) >= self._threads:
            return None
        for queue in (self._urgent, self._routine):
            for subject in queue:
                if subject not in self._running:
                    del queue[subject]
                    return subject
        return None

    def _run(self, subject: Subject, watches: Watches) -> None:
        """One look, in a thread of its own."""
        looks: list[CheckResult] = []
        trouble: Failure | None = None
        try:
            looks = watches.look(subject)
        except Exception as error:  # noqa: BLE001  # a defect in one look is not the others' end
            trouble = as_failure(error, f"watch {label_of(subject)}")
        with self._lock:
            self._running.discard(subject)
            if watches is self._watches and not self._stopped:
                self._say(subject, looks, trouble)
        self._pump()

    def _say(self, subject: Subject, looks: list[CheckResult], trouble: Failure | None) -> None:
        what = f"watch {label_of(subject)}"
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
            self._look_soon(subject, min(AGAIN, self._watches.every(subject)))

    def _tell(self, look: CheckResult) -> bool:
        """Tell of one look what is certain; whether another one is needed soon."""
        key = look.watched.key
        settled = settle(
            look.watched, self._held.get(key, EarlierLooks()), after=look.after, moving=look.moving
        )
        if settled.held.counts:
            self._held[key] = settled.held
        else:
            self._held.pop(key, None)
        self._observer.watched(settled.watched)
        return settled.watched.unsure


def label_of(subject: Subject) -> str:
    """A subject in a few words, the same in every process."""
    return str(subject) if isinstance(subject, Id) else f"{subject.address} ({subject.asked})"


def _subjects(watches: Watches) -> tuple[Subject, ...]:
    return (*watches.entries, *watches.certificates)


def _keys(watches: Watches) -> set[str]:
    return {key for subject in _subjects(watches) for key in watches.keys(subject)}
