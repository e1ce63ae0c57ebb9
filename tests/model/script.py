"""A chance that follows a script: which fault strikes at which numbered point of one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import EIO
from typing import TypeVar

from certrotd.clock import ManualClock
from certrotd.rotation.engine import Stopped
from tests.fakes.chance import Refused

T = TypeVar("T")

REFUSE = "refuse"  # it is not done, and said so
RAW = "raw"  # the same, said by an exception the adapter let through
TEAR = "tear"  # half of it is written, then it is refused
BELIE = "belie"  # it is done, and yet said to have failed
STOP = "stop"  # the process is told to stop, and goes on until it hears of it
CRASH = "crash"  # it is done, and that is the last thing the process does
CRASH_TORN = "crash torn"  # half of it is written, and then the process is no more
LOSE = "lose"  # it is done, and then the lock is another's
CUT = "power cut"  # as a crash, and the journal loses what was never synced

# as a second fault, not all that differ as a first one do
SECOND = frozenset({REFUSE, BELIE, CRASH, CRASH_TORN, CUT})
LOOK = (REFUSE, RAW, STOP)
ACT = (REFUSE, RAW, BELIE, STOP, CRASH)
WRITE = (REFUSE, TEAR, BELIE, CRASH, CRASH_TORN)
ENDS = frozenset({CRASH, CRASH_TORN, CUT})


class Crash(BaseException):
    """The process is no more; nothing catches this, and whatever runs after it has no effect."""


@dataclass(frozen=True)
class Point:
    """One place where something may go wrong, and what may."""

    what: str
    faults: tuple[str, ...]


@dataclass
class Script:
    """The Chance of one process: ``faults`` by the number of the point they strike at.

    A crash *before* an effect needs no fault of its own: it is the crash after the effect before
    it. ``before`` and ``after`` are called around every effect, ``unsynced`` says whether a power
    cut would lose records, and ``cut`` loses them.
    """

    faults: Mapping[int, str]
    before: Callable[[str], None]
    after: Callable[[str], None]
    unsynced: Callable[[], bool]
    cut: Callable[[], None]
    lose: Callable[[], None] = lambda: None
    points: list[Point] = field(default_factory=list)
    told_to_stop: bool = False
    dead: bool = False

    @property
    def last(self) -> int:
        """The number of the last point a fault strikes at, -1 if none does."""
        return max(self.faults, default=-1)

    @property
    def struck(self) -> bool:
        """Whether every fault has struck."""
        return len(self.points) > self.last

    def look(self, what: str) -> None:
        """As Chance.look."""
        fault = self._next(what, LOOK)
        self._refuse(fault, what)
        self._end(fault)

    def act(self, what: str, effect: Callable[[], T]) -> T:
        """As Chance.act."""
        fault = self._next(what, ACT)
        self._refuse(fault, what)
        self.before(what)
        result = effect()
        self.after(what)
        self._end(fault)
        if fault == BELIE:
            raise Refused(what)
        return result

    def write(self, what: str, effect: Callable[[float], None]) -> None:
        """As Chance.write."""
        fault = self._next(what, WRITE)
        self._refuse(fault, what)
        self.before(what)
        torn = fault in (TEAR, CRASH_TORN)
        effect(0.5 if torn else 1.0)
        self.after("" if torn else what)
        self._end(fault)
        if fault in (TEAR, BELIE):
            raise Refused(what)

    def _next(self, what: str, faults: tuple[str, ...]) -> str:
        if self.dead:
            raise Crash  # a finally clause that a killed process would not have run
        number = len(self.points)
        if CRASH in faults and self.unsynced():
            faults = (*faults, CUT)
        if self.told_to_stop:
            faults = tuple(fault for fault in faults if fault != STOP)
        self.points.append(Point(what, faults))
        fault = self.faults.get(number, "")
        assert fault in ("", LOSE, *faults), f"{fault} cannot strike at {what}"
        return fault

    def _refuse(self, fault: str, what: str) -> None:
        if fault == STOP:
            self.told_to_stop = True
        if fault == REFUSE:
            raise Refused(what)
        if fault == RAW:
            raise OSError(EIO, "Input/output error")

    def _end(self, fault: str) -> None:
        if fault == LOSE:
            self.lose()
        if fault == CUT:
            self.cut()
        if fault in ENDS:
            self.dead = True
            raise Crash


class ProcessClock(ManualClock):
    """A manual clock that wakes a sleeper once when the process is told to stop.

    It stands still while a process runs, so that different ways to one state lead to the same.
    """

    script: Script | None = None
    woken = False

    def sleep(self, seconds: float) -> None:
        """Nothing, at once; raises Stopped, but not twice."""
        if self.script is not None and self.script.told_to_stop and not self.woken:
            self.woken = True
            raise Stopped("the process was told to stop")

    def freeze(self) -> tuple[object, ...]:
        """What thaw() takes."""
        return self._now, self._monotonic

    def thaw(self, frozen: tuple[object, ...]) -> None:
        """Go back to what freeze() gave; for a new process."""
        self._now, self._monotonic = frozen  # type: ignore[assignment]
        self.woken = False
