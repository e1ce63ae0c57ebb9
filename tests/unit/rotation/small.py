"""The smallest rotations there are: steps that put a name on a list, over a disk in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from certrotd.clock import ManualClock
from certrotd.rotation.engine import Engine, Event, Outcome
from certrotd.rotation.step import (
    JSON,
    Done,
    Journaled,
    Ledger,
    NotYet,
    Observed,
    Plan,
    Rebuild,
    Savepoint,
)
from certrotd.state.ports import Journal
from tests.fakes.chance import Refused
from tests.fakes.journal import MemoryDisk, MemoryJournal

T = TypeVar("T")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEFORE = "the process ends before it"
TORN = "the process ends in the middle of it"
AFTER = "the process ends after it"
REFUSED = "it fails"
TEAR = "it fails in the middle"
BELIED = "it is done and said to have failed"


class Crash(BaseException):
    """The process is no more; nothing catches this."""


class Fate:
    """A Chance: ``faults`` are what happens at which point, by its number or by its words."""

    def __init__(self, faults: Mapping[int | str, str] | None = None) -> None:
        self.faults = dict(faults or {})
        self.points: list[str] = []

    def look(self, what: str) -> None:
        self._before(self._next(what))

    def act(self, what: str, effect: Callable[[], T]) -> T:
        fault = self._next(what)
        self._before(fault)
        result = effect()
        self._after(fault)
        return result

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        fault = self._next(what)
        self._before(fault)
        if fault in (TORN, TEAR):
            effect(0.5)
            raise Crash(what) if fault == TORN else Refused(what)
        effect(1.0)
        self._after(fault)

    def _next(self, what: str) -> str | None:
        self.points.append(what)
        return self.faults.get(len(self.points) - 1, self.faults.get(what))

    def _before(self, fault: str | None) -> None:
        if fault == BEFORE:
            raise Crash
        if fault == REFUSED:
            raise Refused

    def _after(self, fault: str | None) -> None:
        if fault in (AFTER, TORN):
            raise Crash
        if fault in (BELIED, TEAR):
            raise Refused


@dataclass
class World:
    """What is ``there``, latest last, and what was told of it.

    ``on`` scripts what the next calls meet.
    """

    fate: Fate = field(default_factory=Fate)
    there: list[str] = field(default_factory=list)
    told: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)
    on: dict[str, list[Any]] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)
    acknowledged: bool = False
    now: Callable[[], datetime] = lambda: NOW

    def meet(self, what: str) -> Any:
        """Log a call and raise or give back what is scripted for it."""
        self.log.append(what)
        script = self.on.get(what, [])
        met = script.pop(0) if script else None
        if isinstance(met, BaseException):
            raise met
        return met(self) if callable(met) else met


@dataclass(frozen=True)
class Put:
    """Puts ``name`` on the list."""

    name: str
    can_kill: bool = True
    announced: bool = True

    @property
    def kind(self) -> str:
        return self.name

    @property
    def intent(self) -> Mapping[str, JSON]:
        return {"name": self.name, "can_kill": self.can_kill, "announced": self.announced}

    def do(self, world: World, ledger: Ledger) -> Done | NotYet:
        world.fate.look(f"do {self.name}")
        answer = world.meet(f"do {self.name}")
        if isinstance(answer, NotYet):
            return answer
        if self.name not in world.there:
            world.fate.act(f"put {self.name}", lambda: world.there.append(self.name))
        return answer if isinstance(answer, Done) else Done({self.name: "done"})

    def undo(self, world: World, ledger: Ledger) -> None:
        world.fate.look(f"undo {self.name}")
        world.meet(f"undo {self.name}")
        if self.name in world.there:
            assert world.there[-1] == self.name, f"{self.name} is undone before what is on it"
            world.fate.act(f"take {self.name}", world.there.pop)

    def observe(self, world: World, ledger: Ledger) -> Observed:
        world.fate.look(f"look {self.name}")
        world.meet(f"look {self.name}")
        return Observed.DONE if self.name in world.there else Observed.NOT_DONE


@dataclass(frozen=True)
class Tell(Journaled):
    """Somebody reads the list, which nobody can see; so undoing it changes nothing."""

    kind = "tell"

    def do(self, world: World, ledger: Ledger) -> Done:
        world.meet("do tell")
        world.fate.act("tell", lambda: setattr(world, "told", tuple(world.there)))
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        world.meet("undo tell")


@dataclass(frozen=True)
class Count(Journaled):
    """Counts to three, and makes a checkpoint at each number."""

    size: int = 3
    kind = "count"

    def do(self, world: World, ledger: Ledger) -> Done:
        first = ledger.kept.get("next", 0)
        assert isinstance(first, int)
        for number in range(first, self.size):
            world.meet(f"count {number}")
            world.fate.act(f"count {number}", partial(world.counted.add, number))
            ledger.checkpoint({"next": number + 1}, done=number + 1, total=self.size)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        world.fate.act("forget the count", world.counted.clear)

    def observe(self, world: World, ledger: Ledger) -> Observed:
        world.fate.look("look at the count")
        return Observed.DONE if len(world.counted) == self.size else Observed.NOT_DONE


@dataclass(frozen=True)
class Await(Journaled):
    """Waits until somebody has acknowledged."""

    kind = "await"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done | NotYet:
        return self.poll(world, ledger) or Done()

    def poll(self, world: World, ledger: Ledger) -> NotYet | None:
        world.meet("poll")
        if world.acknowledged:
            return None
        return NotYet(world.now() + timedelta(hours=1), "waits for an acknowledgement")

    def undo(self, world: World, ledger: Ledger) -> None:
        """Nothing was done."""

    def observe(self, world: World, ledger: Ledger) -> Observed:
        return Observed.DONE if world.acknowledged else Observed.NOT_DONE


def rebuild(kind: str, intent: Mapping[str, Any]) -> Put | Tell | Count | Await:
    """The step of a begin record."""
    match kind:
        case "tell":
            return Tell.rebuild(intent)
        case "count":
            return Count.rebuild(intent)
        case "await":
            return Await.rebuild(intent)
        case _:
            return Put(**intent)


A, B, C, D = (Put(name) for name in "abcd")
TELL, COUNT, AWAIT = Tell(), Count(), Await()
SAVED = Savepoint("saved", stop_undoes=True)
FORWARD = Savepoint("forward", forward_only=True)


@dataclass
class Small:
    """One rotation of a ``plan``, and every process that works on it."""

    plan: Plan[World]
    world: World = field(default_factory=World)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    events: list[Event] = field(default_factory=list)
    told_to_stop: bool = False
    hands_over: bool = False
    facts: Mapping[str, JSON] | None = None
    rebuild: Rebuild[World] = rebuild

    def journal(self) -> MemoryJournal:
        """The journal as a new process finds it."""
        return MemoryJournal(self.disk, self.world.fate)

    def engine(self, journal: Journal | None = None) -> Engine[World]:
        """The engine of a new process."""
        return Engine(
            journal=journal or self.journal(),
            world=self.world,
            rebuild=self.rebuild,
            now=self.clock.now,
            listen=self.events.append,
            stopping=lambda: self.told_to_stop,
            hands_over=self.hands_over,
        )

    def begin(self) -> Outcome:
        """Begin it in a new process."""
        return self.engine().begin("r1", "web", "it is due", self.plan, facts=self.facts)

    def resume(self) -> Outcome:
        """Go on with it in a new process."""
        return self.engine().resume()

    def records(self) -> list[dict[str, Any]]:
        """What is in the journal."""
        return MemoryJournal(self.disk).records()

    def kinds(self) -> str:
        """The journal, as words."""
        return " ".join(record["t"] + str(record.get("i", "")) for record in self.records())

    def history(self) -> list[dict[str, Any]]:
        """What was closed."""
        return MemoryJournal(self.disk).history.lines()

    @property
    def told(self) -> list[str]:
        """The events, as words."""
        return [f"{event.what} {event.item}".strip() for event in self.events]


def cut_off(small: Small, at: str, *, times: int = 1, fault: str = BEFORE) -> None:
    """So many processes that end ``at`` a point."""
    small.world.fate = Fate({at: fault})
    for _ in range(times):
        with pytest.raises(Crash):
            small.resume() if small.engine().in_flight() else small.begin()
    small.world.fate = Fate()
