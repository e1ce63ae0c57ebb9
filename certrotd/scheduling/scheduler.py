"""When to look and when to act: at every tick what is due is decided anew, from facts and history.

What a tick decides by is on disk, so a restart, a jump of the clock or a missed run loses nothing.
Memory only spreads the work: the due heap says when to look, the fair queue whose turn it is.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from queue import SimpleQueue

from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.decision import Action, Asked, Wait
from certrotd.lifecycle.gate import Gate
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Fate, Subject
from certrotd.lifecycle.view import View
from certrotd.observers import Observer
from certrotd.rotation.unexpected import as_failure
from certrotd.scheduling.backoff import Backoff
from certrotd.scheduling.clock_trust import ClockTrust
from certrotd.scheduling.condition import Condition
from certrotd.scheduling.due import ASK, HOURLY, RESUME, Due, look_by
from certrotd.scheduling.due_heap import DueHeap
from certrotd.scheduling.gates import DIRECTORIES, DISK
from certrotd.scheduling.looking import flight_of, look_at
from certrotd.scheduling.rations import Rations
from certrotd.scheduling.timekeeper import Timekeeper
from certrotd.scheduling.work_pool import WorkPool
from certrotd.scheduling.workload import Workload

OURS = 5.0
JOURNALS = "the journals"
REQUESTS = "requests to look at once"


class Scheduler:
    """Looks at what is due and has it rotated, several at once, one rotation per subject.

    ``spawn`` runs a job elsewhere (a thread); ``remember`` keeps the time of the last run, at
    most once a minute. All methods may be called from any thread.
    """

    def __init__(
        self,
        workload: Workload,
        clock: Clock,
        *,
        last_run: datetime | None,
        observer: Observer,
        spawn: Callable[[str, Callable[[], None]], None],
        remember: Callable[[datetime], None],
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._spawn = spawn
        self._lock = threading.RLock()
        self._time = Timekeeper(last_run, clock.monotonic(), observer=observer, remember=remember)
        self._incoming: Workload | None = None
        self._stopped = False
        self._directories = Condition(DIRECTORIES, observer)
        self._disk = Condition(DISK, observer)
        self._journals = Condition(JOURNALS, observer)
        self._requests = Condition(REQUESTS, observer)
        self._ours: dict[Id, float] = {}
        self._rations = Rations(observer)
        self._backoff = Backoff()
        self._doubts: SimpleQueue[Id] = SimpleQueue()
        self._doubted: set[Id] = set()
        self._woken: set[Id] = set()
        self._begin(workload)

    def _begin(self, workload: Workload) -> None:
        self._work = workload
        self._due_heap: DueHeap[Id] = DueHeap()
        self._due: dict[Id, Due] = {}
        now = self._clock.now()
        fates: dict[str, set[Fate]] = {kind: set() for kind in workload.slots}
        for subject in workload.subjects.values():
            self._due_heap.put(subject.id, now)
            fates[subject.id.kind].add(subject.fate)
        self._pools = {kind: WorkPool(workload.slots[kind], of) for kind, of in fates.items()}
        self._rations.use(workload.rations)
        # what stood in the way may be what was changed
        for gone in self._backoff.forget(workload.subjects):
            self._observer.calmed(gone)
        self._observer.configured(tuple(workload.subjects), workload.left_out)

    @property
    def running(self) -> tuple[Id, ...]:
        """The subjects that are being rotated."""
        with self._lock:
            return tuple(each for pool in self._pools.values() for each in pool.running)

    def stop(self) -> None:
        """Begin nothing any more; what is running ends by itself."""
        with self._lock:
            self._stopped = True

    def close(self) -> None:
        """Let go of the configuration; nothing may be running."""
        with self._lock:
            self._work.close()
            if self._incoming is not None:
                self._incoming.close()

    def replace(self, workload: Workload) -> None:
        """Go on with another configuration as soon as the rotations of this one have ended."""
        with self._lock:
            if self._incoming is not None:
                self._incoming.close()
            self._incoming = workload
        self._pump()

    def doubt(self, subject: Id) -> None:
        """Read all of that subject at the next tick; never waits."""
        self._doubts.put(subject)

    def heard_time(self, time: datetime) -> None:
        """A CA says what ``time`` it is; called by the rotation that asked it."""
        with self._lock:
            now, monotonic = self._clock.now(), self._clock.monotonic()
            self._time.told(time, now, monotonic)
            self._judge(now, monotonic, None)

    def tick(self) -> None:
        """Look at everything that is due, and begin what there is room for."""
        with self._lock:
            now, monotonic = self._clock.now(), self._clock.monotonic()
            self._directories.set(self._work.directories())
            if self._directories.failure is not None:
                self._observer.ticked(now, 0)
                return
            first = not self._time.ticked
            self._judge(now, monotonic, self._time.tick(now, monotonic))
            full = self._disk.set(self._work.full())
            if self._journals.set(self._work.journals()) or full:
                self._look_at_all(now)
            if self._journals.failure is None:
                self._notice(now, monotonic)
            self._rations.look()
            self._hear_doubts(now)
            self._hear_requests(now)
            due = self._due_heap.due(now)
            for subject in due:
                try:
                    self._look(subject, now)
                except Exception as error:  # noqa: BLE001  # one must not stop the others
                    self._rest(subject, as_failure(error, f"look at {subject.kind} {subject.name}"))
            self._judge(now, monotonic, None)  # by what the looks have seen
            judgement = self._time.judgement
            if first and judgement.trust is ClockTrust.SOUND:
                self._observer.clock(judgement, None)  # as an earlier process may not have
            self._time.keep(monotonic)
            self._observer.ticked(now, len(due))
        self._pump()

    def _hear_doubts(self, now: datetime) -> None:
        while not self._doubts.empty():
            subject = self._doubts.get()
            if subject in self._work.subjects and not self._runs(subject):
                self._doubted.add(subject)
                self._look_again(subject, now)

    def _hear_requests(self, now: datetime) -> None:
        """Look at what somebody asks to be looked at: what it waits for may have come."""
        try:
            for subject in self._work.woken():
                if subject not in self._work.subjects:
                    continue
                if self._runs(subject):
                    self._woken.add(subject)  # it may have looked before that came
                else:
                    self._backoff.wake(subject)
                    self._look_again(subject, now)
        except (Failure, OSError) as error:
            self._requests.set(as_failure(error, "read who is to be looked at"))
        else:
            self._requests.set(None)

    def _judge(self, now: datetime, monotonic: float, jump: timedelta | None) -> None:
        """Think of the clock; after a jump, or if it is to be thought of otherwise, look anew."""
        changed = self._time.judge(now, monotonic)
        if jump is not None and jump > timedelta(0):
            self._rations.leapt(jump)
        if jump is not None or changed:
            self._look_at_all(now)
            self._observer.clock(self._time.judgement, jump)

    def _notice(self, now: datetime, monotonic: float) -> None:
        """Look at what another process has rotated; whatever it rested for may be over.

        What one of ours has written is looked at as well, but does not end a rest.
        """
        self._ours = {n: t for n, t in self._ours.items() if monotonic - t < OURS}
        # whoever looks at a subject meets what is raised here too, and reports it
        with contextlib.suppress(Failure, OSError):
            for subject in self._work.changed():
                self._look_at_followers(subject, now)
                if subject not in self._work.subjects or self._runs(subject):
                    continue
                if subject not in self._ours:
                    self._backoff.wake(subject)
                    self._observer.changed(subject)
                self._look_again(subject, now)

    def _runs(self, subject: Id) -> bool:
        return subject in self._pools[subject.kind].running

    def _look_again(self, subject: Id, now: datetime) -> None:
        """At the next tick, also at what waits for its turn."""
        self._pools[subject.kind].remove(subject)
        self._due_heap.put(subject, now)

    def _look_at_followers(self, leader: Id, now: datetime) -> None:
        """What one has brought others have to take over."""
        for subject in self._work.followers.get(leader, ()):
            if self._runs(subject):
                self._woken.add(subject)
            else:
                self._look_again(subject, now)

    def _look_at_all(self, now: datetime) -> None:
        for pool in self._pools.values():
            for subject in pool.clear():
                self._due_heap.put(subject, now)
        self._due_heap.hasten(now)

    def _rest(self, subject: Id, failure: Failure) -> None:
        """Leave a subject alone for a while that cannot be dealt with."""
        self._observer.trouble(subject, failure)
        rested = self._backoff.trouble(
            subject, str(failure), self._clock.now(), self._clock.monotonic()
        )
        self._due_heap.put(subject, rested)

    def _look(self, subject: Id, now: datetime) -> None:
        """Decide about one subject, from what is there now, and see to it.

        Also while it rests, and while a rotation is in flight: what is served expires meanwhile.
        """
        monotonic = self._clock.monotonic()
        rest = self._backoff.held(subject, now, monotonic)
        flight, unknown = None, self._journals.failure
        if unknown is None:
            tries = self._backoff.troubles(subject)
            flight, unknown = flight_of(self._work.subjects[subject], self._work, rest, tries)
        try:
            view = look_at(
                *(self._work.subjects[subject], flight, unknown, self._backoff),
                self._time.judgement,
                self._disk.failure,
                thorough=subject in self._doubted,
                now=now,
                monotonic=monotonic,
            )
        except (Failure, OSError) as error:
            if flight is None and rest is None:
                raise
            self._observer.trouble(
                subject, as_failure(error, f"look at {subject.kind} {subject.name}")
            )
            if rest is not None:
                self._due_heap.put(subject, rest.until or now + HOURLY)
            else:  # to go on with it may be the cure
                self._queue(subject, RESUME)
            return
        self._doubted.discard(subject)
        self._time.seen(view.found.passed)
        if view.calm and rest is None and self._backoff.calm(subject):
            self._observer.calmed(subject)  # first: what is looked at may be failing all the same
        self._observer.looked(view)
        if unknown is None or unknown is self._journals.failure:
            self._see_to(view)
        else:
            self._rest(subject, unknown)

    def _see_to(self, view: View) -> None:
        """Queue what is due, or say when to look again."""
        subject, decision, held, now = view.id, view.decision, view.held, view.now
        parked = held is not None and held.by is Gate.PARKED
        mends = decision.why if isinstance(decision, Action) and decision.mends else None
        if parked and mends is not None and self._backoff.hurry(subject, mends):
            self._queue(subject, RESUME)  # which mends what it can beside what is in flight
        elif held is not None:
            self._release(subject)
            self._due_heap.put(subject, look_by(subject, held.until, now))
        elif view.flight is not None:
            self._queue(subject, RESUME)
        elif isinstance(decision, Action):
            due = Due(decision.why, decision.act, view.found.claim, decision.needs_clock)
            if due.claim is None:
                self._release(subject)
            self._queue(subject, due)
        elif isinstance(decision, Wait) and decision.asks:
            self._release(subject)
            self._queue(subject, ASK)
        else:
            self._release(subject)
            self._due_heap.put(subject, look_by(subject, view.next, now))

    def _queue(self, subject: Id, due: Due) -> None:
        self._due[subject] = due
        fate = self._work.subjects[subject].fate
        pool, spends = self._pools[subject.kind], due.claim is not None
        pool.put(subject, fate, spends=spends, asks=due is ASK)

    def _pump(self) -> None:
        """Begin as much as there is room for."""
        while True:
            with self._lock:
                subject = self._next()
                if subject is None:
                    return
                asked = Asked(unclaimed=not self._due[subject].claims)
                job = partial(self._run, self._work.subjects[subject], asked, self._work)
                if self._due[subject] is not ASK:
                    self._observer.began(subject, self._due[subject].why)
            try:
                self._spawn(str(subject), job)
            except RuntimeError as error:  # the system has no thread to give
                with self._lock:
                    failure = as_failure(error, f"begin the rotation of {subject.name}")
                    self._ended(Report(subject, failure=failure))
                return

    def _next(self) -> Id | None:
        """The next subject to rotate, which from now on is running."""
        if self._incoming is not None and not self.running:
            self._work.close()
            self._begin(self._incoming)
            self._incoming = None
        if self._stopped or self._incoming is not None:
            return None
        if self._directories.failure is not None or self._journals.failure is not None:
            return None
        for pool in self._pools.values():
            subject = pool.next(self._affords)
            if subject is not None:
                pool.enter(subject, self._work.subjects[subject].fate)
                return subject
        return None

    def _affords(self, subject: Id) -> bool:
        """Whether there is room for what it claims elsewhere, which then is set aside for it."""
        one, now = self._work.subjects[subject], self._clock.now()
        try:
            held = one.reserve(self._due[subject].claim, now=now)
        except Exception as error:  # noqa: BLE001  # one must not stop the others
            self._rest(subject, as_failure(error, f"read the budget of {one.fate.service}"))
            return False
        if held is not None:
            self._observer.postponed(subject, held)
            self._due_heap.put(subject, look_by(subject, held.until, now))
        return held is None

    def _run(self, subject: Subject, asked: Asked, work: Workload) -> None:
        """One rotation, in a thread of its own."""
        report = work.rotate(subject, asked)
        with self._lock:
            self._ended(report)
        self._pump()

    def _ended(self, report: Report) -> None:
        subject, now, monotonic = report.subject, self._clock.now(), self._clock.monotonic()
        self._pools[subject.kind].leave(subject)
        self._ours[subject] = monotonic
        self._release(subject)
        due = self._due.pop(subject)
        if due is not ASK or report.last is not None or report.failure is not None:
            self._observer.ended(report)
        self._backoff.ended(report, due.act, now, monotonic)
        if subject in self._woken:
            self._woken.discard(subject)
            self._backoff.wake(subject)
        if isinstance(report.decision, Action) and report.outcome is None:
            self._doubted.add(subject)  # left to the next look, which has to see it as well
        self._due_heap.put(subject, now)  # the result is seen at once
        self._look_at_followers(subject, now)

    def _release(self, subject: Id) -> None:
        self._work.subjects[subject].release()
