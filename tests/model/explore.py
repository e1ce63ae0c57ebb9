"""Every history of a scenario with a bounded number of faults, by deterministic replay.

A history is a sequence of processes on one world, each with a script of faults at numbered points
(see script.py). Scripts are enumerated depth first; whatever a process can do after its last
fault is explored once per state of the world, since that state and the journal are all it goes by.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from certrotd.errors import LockHeld
from certrotd.lifecycle.decision import Wait
from certrotd.lifecycle.report import Report
from certrotd.pki.keys import KeyType, PrivateKey
from certrotd.rotation.recovery import read_progress
from certrotd.state.records import decode
from tests.fakes.issuer import MemoryOrder
from tests.fakes.rotator import Rotator
from tests.fakes.world import MemoryWorld
from tests.model.monitor import Monitor, Violation
from tests.model.script import LOSE, SECOND, Crash, ProcessClock, Script

PATIENCE = 8  # runs without faults until nothing may be due any more
NEXT_RUN = timedelta(hours=26)  # past every backoff, and past a hold

T = TypeVar("T")
State = tuple[Any, ...]
Faults = Mapping[int, str]


class _Seen(BaseException):
    """What follows has been explored already."""


@dataclass
class Scenario:
    """A world to begin with; ``first`` is what its first process does, later ones rotate.

    ``outage`` passes between the first process and the second if a rotation is in flight.
    """

    world: MemoryWorld
    keys: tuple[PrivateKey, ...]
    secrets: tuple[bytes, ...]
    first: Callable[[Rotator, MemoryWorld], Report]
    outage: timedelta = timedelta(0)


@dataclass
class Explorer:
    """Explores a scenario; ``histories`` counts the scripts that were run."""

    scenario: Scenario
    histories: int = 0
    trail: list[Script] = field(default_factory=list)
    _seen: set[object] = field(default_factory=set)
    _ids: int = 0
    _keys: int = 0

    def __post_init__(self) -> None:
        self.world = self.scenario.world
        assert isinstance(self.world.clock, ProcessClock)
        self.clock = self.world.clock
        self.monitor = Monitor(self.world, self.scenario.secrets)
        self.world.new_key = self._new_key
        self.world.use(FORBIDDEN)
        self._other = self.world.rotator(new_id=lambda: "of the other")
        self._others = self.world.managed()

    def explore(self, faults: int) -> int:
        """Check every history with at most so many faults; the number of them. Violation."""
        self._from(self._freeze(), faults, injected=0, first=True)
        return self.histories

    def lose_the_lock(self) -> int:
        """Check every history in which the first process loses its lock once; their number.

        It writes nothing after that, and the next one brings all to its end.
        """
        start, number = self._freeze(), 0
        while self._lost_at(number):
            self._thaw(start)
            number += 1
        return number

    def _lost_at(self, number: int) -> bool:
        script = self._script({number: LOSE}, intruded=False)
        lost: list[int] = []

        def lose() -> None:
            lost.append(len(script.points))
            self.world.lose_lock()

        def before(what: str) -> None:
            self.monitor.before(what)
            if lost and not _of_one_call(script, lost[0]):
                raise Violation("I0", f"the lock was lost at {number}, and yet: {what}")

        script.lose, script.before = lose, before
        self.trail = [script]
        report = self._run(script, first=True)
        if not lost:
            return False
        self.world.locked = False
        if len(script.points) > lost[0] and "another process's" not in str(report.failure):
            raise Violation("I5", f"the lock was lost, and the report does not say so: {report}")
        self.clock.advance(NEXT_RUN)
        with contextlib.suppress(_Seen):
            self._settle(1)
        return True

    def _from(self, start: State, budget: int, *, injected: int, first: bool) -> None:
        self._once(("start", budget, injected))
        self._scripts(start, {}, budget, injected=injected, first=first)

    def _scripts(
        self, start: State, faults: Faults, budget: int, *, injected: int, first: bool
    ) -> None:
        """Run this script, then all that add one more fault behind its last, if there may be."""
        self._thaw(start)
        script = self._script(faults, intruded=injected + len(faults) < 2)
        self.histories += 1
        self.trail.append(script)
        try:
            self._process(script, budget - len(faults), injected, first=first)
        except _Seen:
            pass
        except Violation as violation:
            if not getattr(violation, "__notes__", None):
                for number, each in enumerate(self.trail, start=1):
                    violation.add_note(f"process {number}: {_told(each)}")
            raise
        self.trail.pop()
        if len(faults) == budget:
            return
        for number in range(script.last + 1, len(script.points)):
            for fault in script.points[number].faults:
                if injected + len(faults) and fault not in SECOND:
                    continue
                more = {**faults, number: fault}
                self._scripts(start, more, budget, injected=injected, first=first)

    def _settle(self, injected: int) -> None:
        """Without more faults everything is in order after a few runs, and stays so."""
        for number in range(PATIENCE):
            self._once(("settle", injected, number))
            before = self.monitor.effects
            report = self._run(self._script({}), first=False)
            if _quiet(report):
                break
            self.clock.advance(NEXT_RUN)
        else:
            raise Violation("I4", f"after {PATIENCE} runs without faults: {report}")
        self.monitor.settled(1 + injected)
        if self.monitor.effects == before:
            return  # another run would find the same world, and do the same: nothing
        before = self.monitor.effects
        again = self._run(self._script({}), first=False)
        if self.monitor.effects != before or not isinstance(again.decision, Wait):
            raise Violation("I4", f"nothing was due, and yet: {again}")

    def _process(self, script: Script, budget: int, injected: int, *, first: bool) -> None:
        """Run a process to its end, and those after it; _Seen where that was explored before."""
        injected += len(script.faults)

        def boundary() -> None:
            if script.struck:
                outage = first and bool(self.scenario.outage)
                self._once(
                    ("move", script.told_to_stop, self._order_in_hand(), budget, injected, outage)
                )

        quiet = False
        with contextlib.suppress(Crash):
            quiet = _quiet(self._run(script, first=first, boundary=boundary))
        in_flight = bool(self.world.disk.journal)
        self.clock.advance(self.scenario.outage if first and in_flight else NEXT_RUN)
        if quiet or not budget:
            self._settle(injected)
        else:
            self._from(self._freeze(), budget, injected=injected, first=False)

    def _once(self, of: State) -> None:
        """Raise _Seen if the world has been in this state before, at an equal point."""
        key = (of, self._key())
        if key in self._seen:
            raise _Seen
        self._seen.add(key)

    def _run(
        self, script: Script, *, first: bool, boundary: Callable[[], None] = lambda: None
    ) -> Report:
        def stopping() -> bool:
            if script.dead:
                raise Crash
            boundary()
            return script.told_to_stop

        self.clock.script = script
        self.world.use(script)
        self.monitor.started()
        rotator = self.world.rotator(new_id=self._new_id, stopping=stopping)
        act = self.scenario.first if first else _rotate
        report = act(rotator, self.world)
        self.monitor.reported(report, stopped=script.told_to_stop)
        return report

    def _script(self, faults: Faults, *, intruded: bool = False) -> Script:
        disk = self.world.disk
        return Script(
            faults,
            before=self._before if intruded else self.monitor.before,
            after=self.monitor.after,
            unsynced=lambda: len(disk.journal) > disk.synced,
            cut=disk.cut,
        )

    def _before(self, what: str) -> None:
        self.monitor.before(what)
        self._intrude()

    def _intrude(self) -> None:
        """Another process comes by: it is refused, and has no effect."""
        mine, effects = self.world.chance, self.monitor.effects
        self.world.use(FORBIDDEN)
        report = self._other.rotate(self._others, forced=True)
        self.world.use(mine)
        if not isinstance(report.failure, LockHeld) or self.monitor.effects != effects:
            raise Violation("I0", f"two processes at once: {report}")

    def _new_id(self) -> str:
        self._ids += 1
        return f"rotation-{self._ids}"

    def _new_key(self, _key_type: KeyType) -> PrivateKey:
        self._keys += 1
        return self.scenario.keys[self._keys - 1]

    def _order_in_hand(self) -> str | None:
        """What a process has that its journal does not tell; of no use once it has issued."""
        order = self.world.in_use.order if self.world.in_use else None
        return order.url if order and order.url not in self._fulfilled() else None

    def _fulfilled(self) -> set[str]:
        sealed = {pair.chain for _, pair, _ in self.monitor.shelf.generations}
        return {order.url for order in self.world.issuer.orders if order.chain in sealed}

    def _freeze(self) -> State:
        world, issuer, disk = self.world, self.world.issuer, self.world.disk
        return (
            tuple(world.store.shelves.items()),
            (world.installer.files, world.installer.backups),
            tuple(target.serves for target in world.targets.values()),
            frozenset(world.solver.records),
            tuple((order.url, order.names, order.status, order.chain) for order in issuer.orders),
            (tuple(issuer.issued), tuple(issuer.revoked)),
            (disk.journal, disk.synced, disk.history),
            self.clock.freeze(),
            (self.monitor.reached, self._ids, self._keys),
            tuple(world.audit.happened),
        )

    def _key(self) -> State:
        """What the next process goes by: the journal counts for what it says."""
        disk, state = self.world.disk, self._freeze()
        durable = disk.journal[: disk.synced]
        waits_for = self.world.audit.unsettled(str(self.world.policy.id))
        said = _said(disk.journal), _said(durable), disk.late, disk.history, waits_for
        return (*state[:6], *said, *state[7:9])

    def _thaw(self, state: State) -> None:
        world, issuer, disk = self.world, self.world.issuer, self.world.disk
        shelves, installer, serves, records, orders, issued, journal, clock, mine, audit = state
        world.store.shelves = dict(shelves)
        world.installer.files, world.installer.backups = installer
        for target, serving in zip(world.targets.values(), serves, strict=True):
            target.serves = serving
        world.solver.records = set(records)
        issuer.orders = []
        for url, names, status, chain in orders:
            order = MemoryOrder(issuer, url, names)
            order.status, order.chain = status, chain
            issuer.orders.append(order)
        issuer.issued, issuer.revoked = map(list, issued)
        disk.journal, disk.synced, disk.history = journal
        self.clock.thaw(clock)
        self.monitor.reached, self._ids, self._keys = mine
        world.audit.happened = list(audit)
        world.locked, world.in_use = False, None


class _Forbidden:
    def look(self, what: str) -> None:
        raise Violation("I0", f"without the lock: {what}")

    def act(self, what: str, effect: Callable[..., T]) -> T:
        raise Violation("I0", f"without the lock: {what}")

    def write(self, what: str, effect: Callable[..., T]) -> None:
        raise Violation("I0", f"without the lock: {what}")


FORBIDDEN = _Forbidden()


def _of_one_call(script: Script, lost: int) -> bool:
    """Whether all that came since is of the call of an adapter in which the lock was lost."""
    adapter = script.points[lost - 1].what.partition(":")[0]
    return all(point.what.partition(":")[0] == adapter for point in script.points[lost:])


@functools.lru_cache(maxsize=200_000)
def _said(journal: bytes) -> tuple[str, str, bool]:
    """The rotation, how far it has come, and whether there is a torn record."""
    records, whole = decode(journal, what="the journal")
    if not records:
        return "", "", bool(journal)
    begin, *rest = records
    progress = read_progress(rest, len(begin["plan"]), begin["facts"])
    return repr(begin), repr(progress), whole < len(journal)


def _quiet(report: Report) -> bool:
    """Whether nothing was due."""
    done = report.outcome or report.recovered or report.failure
    return isinstance(report.decision, Wait) and done is None


def _rotate(rotator: Rotator, world: MemoryWorld) -> Report:
    return rotator.rotate(world.managed())


def _told(script: Script) -> str:
    points = script.points
    said = [f"{fault} at {n}, {points[n].what}" for n, fault in script.faults.items()]
    return " and ".join(said) or "no fault"
