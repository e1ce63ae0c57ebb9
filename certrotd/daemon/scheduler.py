"""When to look and when to act: at every tick what is due is decided anew, from facts and history.

Nothing of what a tick goes by lasts but what is on disk, so a restart, a jump of the clock or a
missed run loses nothing. What is in memory only spreads the work: the agenda says when to look,
``turns`` whose turn it is, the budget when an order may be placed.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from queue import SimpleQueue

from certrotd.certs.decision import Adopt, Decision, Deploy, Postpone, Renew, Wait
from certrotd.certs.managed import Managed
from certrotd.certs.rotate import Report
from certrotd.clock import Clock
from certrotd.daemon.agenda import Agenda
from certrotd.daemon.budget import registered_domain, renews
from certrotd.daemon.budgets import Budgets
from certrotd.daemon.clockwatch import SOUND, Trust, Watch, jumped
from certrotd.daemon.condition import Condition
from certrotd.daemon.gates import GROUND, Gate, elsewhere
from certrotd.daemon.looking import flight_of, look_at
from certrotd.daemon.observing import Look, Observer
from certrotd.daemon.resting import Rests
from certrotd.daemon.turns import Group, Room, Turns
from certrotd.daemon.workload import Workload
from certrotd.errors import Failure
from certrotd.rotation.engine import Finished, RolledBack
from certrotd.rotation.unexpected import as_failure

DAILY = timedelta(days=1)
HOURLY = timedelta(hours=1)
REMEMBER = 60.0
OURS = 5.0
JOURNALS = "the journals"
LAST_RUN = "the time of the last run"


@dataclass(frozen=True, slots=True)
class _Due:
    """Something to be done.

    ``order``: a CA elsewhere will probably be asked; ``renewal``: for the same names as before.
    """

    why: str
    kind: str
    order: bool = False
    renewal: bool = False


_RESUME = _Due("an earlier rotation is in flight", "resume")


class Scheduler:
    """Looks at what is due and has it rotated, several at once, one rotation per name.

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
        self._remember = remember
        self._lock = threading.RLock()
        self._watch = Watch(last_run, clock.monotonic())
        self._judgement = SOUND
        self._reading: tuple[datetime, float] | None = None
        self._remembered: float | None = None
        self._incoming: Workload | None = None
        self._stopped = False
        self._ground = Condition(GROUND, observer)
        self._journals = Condition(JOURNALS, observer)
        self._last_run = Condition(LAST_RUN, observer)
        self._ours: dict[str, float] = {}
        self._budgets = Budgets(observer)
        self._rests = Rests()
        self._probing: str | None = None
        self._doubts: SimpleQueue[str] = SimpleQueue()
        self._doubted: set[str] = set()
        self._begin(workload)

    def _begin(self, workload: Workload) -> None:
        self._work = workload
        self._agenda = Agenda()
        self._orders, self._others = Turns(), Turns()
        self._due: dict[str, _Due] = {}
        now = self._clock.now()
        for name in workload.certificates:
            self._agenda.put(name, now)
        groups = [_group(managed) for managed in workload.certificates.values()]
        issuers, domains = {g.issuer for g in groups}, {g.domain for g in groups}
        self._room = Room(workload.concurrency, len(issuers), len(domains))
        self._budgets.use(issuers, workload.budget)
        # what stood in the way may be what was changed
        for name in self._rests.forget(workload.certificates):
            self._observer.calmed(name)
        self._observer.configured(tuple(workload.certificates), workload.left_out)

    @property
    def running(self) -> tuple[str, ...]:
        """The certificates that are being rotated."""
        with self._lock:
            return tuple(self._room.running)

    @property
    def next_look(self) -> datetime | None:
        """When something is due next; None while nothing is."""
        with self._lock:
            return self._agenda.next()

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

    def doubt(self, name: str) -> None:
        """Read the files of that certificate at the next tick; called by whoever must not wait."""
        self._doubts.put(name)

    def tick(self) -> None:
        """Look at everything that is due, and begin what there is room for."""
        with self._lock:
            now, monotonic = reading = self._clock.now(), self._clock.monotonic()
            self._ground.set(self._work.ground())
            if self._ground.failure is not None:
                self._observer.ticked(now, 0)
                return
            first = self._reading is None
            jump = jumped(self._reading, reading) if self._reading else None
            self._reading = reading
            self._watch = self._watch.passed(now, monotonic)
            self._judge(now, monotonic, jump)
            if self._journals.set(self._work.journals()):
                self._look_at_all(now)
            if self._journals.failure is None:
                self._notice(now, monotonic)
            self._budgets.look()
            self._hear_doubts(now)
            due = self._agenda.due(now)
            for name in due:
                try:
                    self._look(name, now)
                except Exception as error:  # noqa: BLE001  # one must not stop the others
                    self._rest(name, as_failure(error, f"look at certificate {name}"))
            self._judge(now, monotonic, None)  # by what the certificates said
            if first and self._judgement.trust is Trust.SOUND:
                self._observer.clock(self._judgement, None)  # as an earlier process may not have
            self._keep_time(monotonic)
            self._observer.ticked(now, len(due))
        self._pump()

    def _hear_doubts(self, now: datetime) -> None:
        while not self._doubts.empty():
            name = self._doubts.get()
            if name in self._work.certificates and name not in self._room.running:
                self._doubted.add(name)
                self._look_again(name, now)

    def _judge(self, now: datetime, monotonic: float, jump: timedelta | None) -> None:
        """Think of the clock; after a jump, or if it is to be thought of otherwise, look anew."""
        judgement = self._watch.judge(now, monotonic)
        changed = judgement.trust is not self._judgement.trust
        self._judgement = judgement
        if jump is not None and jump > timedelta(0):
            self._budgets.leapt(jump)
        if jump is not None or changed:
            self._look_at_all(now)
            self._observer.clock(judgement, jump)

    def _notice(self, now: datetime, monotonic: float) -> None:
        """Look at what another process has rotated; whatever it rested for may be over.

        What one of ours has written is looked at as well, but does not end a rest.
        """
        self._ours = {n: t for n, t in self._ours.items() if monotonic - t < OURS}
        try:
            changed = self._work.changed()
        except (Failure, OSError):
            return  # whoever looks at a certificate meets it too, and says it
        for name in changed:
            if name not in self._work.certificates or name in self._room.running:
                continue
            if name not in self._ours:
                self._rests.wake(name)
                self._observer.changed(name)
            self._look_again(name, now)

    def _look_again(self, name: str, now: datetime) -> None:
        """At the next tick, also at what waits for its turn."""
        self._orders.remove(name)
        self._others.remove(name)
        self._agenda.put(name, now)

    def _look_at_all(self, now: datetime) -> None:
        for name in (*self._orders.clear(), *self._others.clear()):
            self._agenda.put(name, now)
        self._agenda.hasten(now)

    def _keep_time(self, monotonic: float) -> None:
        overdue = self._remembered is None or monotonic - self._remembered >= REMEMBER
        if overdue and self._judgement.trust is Trust.SOUND and self._watch.trusted is not None:
            self._remembered = monotonic
            try:
                self._remember(self._watch.trusted)
            except Failure as failure:
                self._last_run.set(failure)
            else:
                self._last_run.set(None)

    def _rest(self, name: str, failure: Failure) -> None:
        """Leave a certificate alone for a while that cannot be dealt with."""
        self._observer.trouble(name, failure)
        rested = self._rests.trouble(name, str(failure), self._clock.now(), self._clock.monotonic())
        self._agenda.put(name, rested)

    def _look(self, name: str, now: datetime) -> None:
        """Decide about one certificate, from what is there now, and see to it.

        Also while it rests, and while a rotation is in flight: what is served expires meanwhile.
        """
        managed, monotonic = self._work.certificates[name], self._clock.monotonic()
        rest = self._rests.held(name, now, monotonic)
        flight, unknown = None, self._journals.failure
        if unknown is None:
            flight, unknown = flight_of(managed, self._work, rest, self._rests.troubles(name))
        try:
            look = look_at(
                *(managed, flight, unknown, self._rests, self._judgement),
                thorough=name in self._doubted,
                now=now,
                monotonic=monotonic,
            )
        except (Failure, OSError) as error:
            if flight is None and rest is None:
                raise
            self._observer.trouble(name, as_failure(error, f"look at certificate {name}"))
            if rest is not None:
                self._agenda.put(name, rest.until or now + HOURLY)
            else:  # to go on with it may be the cure
                self._queue(name, _RESUME)
            return
        self._doubted.discard(name)
        self._watch = self._watch.seen(look.standing.live)
        if look.calm and rest is None and self._rests.calm(name):
            self._observer.calmed(name)  # first: what is looked at may be failing all the same
        self._observer.looked(look)
        if unknown is None or unknown is self._journals.failure:
            self._see_to(look)
        else:
            self._rest(name, unknown)

    def _see_to(self, look: Look) -> None:
        """Queue what is due, or say when to look again."""
        name, decision, held, now = look.managed.policy.name, look.decision, look.held, look.now
        parked = held is not None and held.by is Gate.PARKED
        if parked and _mends(decision) and self._rests.hurry(name, decision.why):
            self._queue(name, _RESUME)  # which mends what it can beside what is in flight
        elif held is not None and not held.queued:
            self._release(name)
            self._agenda.put(name, _within_a_day(name, held.until or now + HOURLY, now))
        elif look.flight is not None:
            self._queue(name, _RESUME)
        elif isinstance(decision, Wait | Postpone):
            self._release(name)
            self._agenda.put(name, _within_a_day(name, decision.until, now))
        elif isinstance(decision, Renew | Adopt):
            policy = look.managed.policy
            renewal = renews(look.standing, policy.names, policy.authority)
            kind = type(decision).__name__
            # the CA of our own has our own clock, and no limits
            order = elsewhere(policy)
            self._queue(name, _Due(decision.why, kind, order=order, renewal=renewal))
        else:
            self._release(name)
            self._queue(name, _Due(decision.why, type(decision).__name__))

    def _queue(self, name: str, due: _Due) -> None:
        self._due[name] = due
        turns = self._orders if due.order else self._others
        turns.put(name, _group(self._work.certificates[name]))

    def _pump(self) -> None:
        """Begin as much as there is room for."""
        while True:
            with self._lock:
                name = self._next()
                if name is None:
                    return
                managed, work = self._work.certificates[name], self._work
                self._observer.began(name, self._due[name].why)
            try:
                self._spawn(name, partial(self._run, managed, work))
            except RuntimeError as error:  # the system has no thread to give
                with self._lock:
                    failure = as_failure(error, f"begin the rotation of {name}")
                    self._ended(managed, Report(name, failure=failure))
                return

    def _next(self) -> str | None:
        """The next certificate to rotate, which from now on is running."""
        if self._incoming is not None and not self._room.running:
            self._work.close()
            self._begin(self._incoming)
            self._incoming = None
        if self._stopped or self._incoming is not None:
            return None
        if self._ground.failure is not None or self._journals.failure is not None:
            return None
        name = self._others.take(self._room)
        while name is None and self._may_order():
            name = self._orders.take(self._room)
            if name is None:
                return None
            if not self._affords(name):
                name = None
        if name is not None:
            self._room.enter(name, _group(self._work.certificates[name]))
        return name

    def _may_order(self) -> bool:
        """While the clock is doubted, one order at a time, and none soon after one in vain."""
        if self._judgement.trust is not Trust.DOUBTED:
            return True
        return self._probing is None and self._rests.over("", self._clock.monotonic())

    def _affords(self, name: str) -> bool:
        """Whether the budget has room for the order, which is then set aside for it."""
        policy, due, now = self._work.certificates[name].policy, self._due[name], self._clock.now()
        try:
            budget = self._work.budget(policy.issuer)
            if budget is not None:
                over = budget.hold(name, policy.names, renewal=due.renewal, now=now)
                if over is not None:
                    self._observer.postponed(name, over)
                    self._agenda.put(name, _within_a_day(name, over.until, now))
                    return False
        except (Failure, OSError) as error:
            self._rest(name, as_failure(error, f"read the budget of {policy.issuer}"))
            return False
        if self._judgement.trust is Trust.DOUBTED:
            self._probing = name
        return True

    def _run(self, managed: Managed, work: Workload) -> None:
        """One rotation, in a thread of its own."""
        report = work.rotate(managed)
        with self._lock:
            self._ended(managed, report)
        self._pump()

    def _ended(self, managed: Managed, report: Report) -> None:
        name, now, monotonic = report.name, self._clock.now(), self._clock.monotonic()
        self._room.leave(name)
        self._ours[name] = monotonic
        self._release(name)
        due = self._due.pop(name)
        self._observer.ended(report)
        if name == self._probing:
            self._probed(managed, report, now, monotonic)
        self._rests.came_to(report, due.kind, now, monotonic)
        self._agenda.put(name, now)  # what it came to is seen at once

    def _probed(self, managed: Managed, report: Report, now: datetime, monotonic: float) -> None:
        """An order was placed to learn whether the clock is right."""
        self._probing = None
        if isinstance(report.outcome, Finished):
            try:
                self._watch = self._watch.obtained(managed.look().live, now, monotonic)
                self._judge(now, monotonic, None)
            except (Failure, OSError) as error:
                self._observer.trouble(report.name, as_failure(error, "look at the new generation"))
            self._rests.calm("")
            return
        if isinstance(report.outcome, RolledBack) and not report.outcome.facts.get("order"):
            return  # no order was placed, so nothing was learnt, and nothing lost
        self._rests.trouble("", "an order to learn the time was in vain", now, monotonic)

    def _release(self, name: str) -> None:
        budget = self._work.budget(self._work.certificates[name].policy.issuer)
        if budget is not None:
            budget.release(name)


def _group(managed: Managed) -> Group:
    return Group(managed.policy.issuer, registered_domain(managed.policy.names[0]))


def _mends(decision: Decision) -> bool:
    return isinstance(decision, Deploy) and decision.mends


def _within_a_day(name: str, until: datetime, now: datetime) -> datetime:
    """Later than now, and within a day: somebody may have touched the files.

    The day is between a half and a whole one by the name, so that not all come at the same time.
    """
    share = 0.5 + zlib.crc32(name.encode()) / 2**33
    return min(max(until, now + timedelta(seconds=1)), now + DAILY * share)
