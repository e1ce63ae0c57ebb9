"""A year of a thousand certificates, with everything that goes wrong in a year."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT
from certrotd.certs.policy import Policy
from certrotd.errors import Transient
from certrotd.pki.generation import Generation
from tests.fakes.cheap import CA_URL, CheapCA, CheapDisk, CheapRotator, Crash, WorldClock
from tests.fakes.process import Kept, Process

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIFETIMES = (6, 47, 90)
DOMAINS = 22
INJECTED = {
    "a validation that failed",
    "a CA that stopped answering",
}


@dataclass
class Year:
    """The simulation; ``problems`` is what must not happen, ``log`` all that did."""

    seed: int
    size: int
    length: timedelta
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.clock = WorldClock(START)
        self.days: dict[str, int] = {}
        self.disks: dict[str, CheapDisk] = {}
        for number in range(self.size):
            host = f"h{number}.d{number % DOMAINS}.test"
            self.days[host] = LIFETIMES[number % len(LIFETIMES)]
            policy = Policy(f"c{number}", (host,), "ca", CA_URL)
            self.disks[policy.name] = CheapDisk(policy)
        self.ca = CheapCA(self.clock, self._lifetime)
        self.kept = Kept()
        self.crashing = False
        self.cuts = 0
        self.ca.hang = self._cut
        self.ends: dict[str, datetime] = {}
        self.process = self._start()

    def run(self) -> None:
        """All of it."""
        end, troubles = START + self.length, self._troubles()
        at, strike = next(troubles)
        while self.clock.true < end:
            if self.clock.true >= at:
                strike()
                at, strike = next(troubles)
            self._work()
            following = self.process.scheduler._due_heap.next()
            step = following - self.clock.now() if following else HOUR
            self.clock.advance(min(max(step, MINUTE), HOUR, max(at - self.clock.true, MINUTE)))
        for name, until in self.ends.items():
            if until <= self.clock.true:
                self.problems.append(f"{name} expired at {until} and is live")
        self._account_for_orders()

    def digest(self) -> str:
        """What happened, in short."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()

    def _work(self) -> None:
        """A tick, and rotations that take a while, until there is nothing left to do."""
        self.process.scheduler.tick()
        while jobs := self.process.jobs:
            self.clock.advance(timedelta(seconds=2))
            batch = list(jobs)
            jobs.clear()
            for _, job in batch:
                try:
                    job()
                except Crash:
                    self._restart()
                    return

    def _start(self) -> Process:
        rotator = CheapRotator(
            self.disks,
            self.ca,
            self.clock,
            self.chance.random,
            deploys=lambda _name: self.chance.random() > 0.01,
            crashes=self._crashes,
            heard=self._changed,
        )
        return Process(self.disks, rotator, self.clock, self.kept, limits=LETS_ENCRYPT)

    def _restart(self) -> None:
        self.restarts += 1
        self.log.append(f"{self.clock.true} restart")
        self.process = self._start()

    def _crashes(self, _name: str) -> bool:
        crashing, self.crashing = self.crashing, False
        return crashing

    def _changed(self, name: str, old: Generation | None, new: Generation) -> None:
        assert new.facts is not None
        if old is not None:
            assert old.facts is not None
            if old.facts.not_after <= self.clock.true:
                self.problems.append(f"{name} expired at {old.facts.not_after}")
        self.ends[name] = new.facts.not_after
        self.log.append(f"{self.clock.true} {name} {new.number}")

    def _lifetime(self, names: Sequence[str]) -> timedelta:
        return timedelta(days=self.days[names[0]])

    def _troubles(self) -> Iterator[tuple[datetime, Callable[[], None]]]:
        """One after the other, with days between: what is tested is each, not all at once."""
        at = START + 10 * DAY
        while True:
            kinds = [
                lambda: self._down(self.chance.uniform(1, 10) * HOUR),
                lambda: self._down(2 * DAY),
                lambda: self._busy(self.chance.uniform(1, 6) * HOUR),
                self._unproven,
                self._restart,
                self._crash,
                self._cut_off,
                lambda: self.clock.suspend(self.chance.uniform(0.1, 9) * HOUR),
                lambda: self.clock.suspend(1.5 * DAY),
            ]
            for off in (365 * DAY, 20 * HOUR, 10 * MINUTE, -10 * MINUTE, -DAY, -400 * DAY):
                kinds.append(lambda off=off: self._set_off(off))  # type: ignore[misc]
            self.chance.shuffle(kinds)
            for kind in kinds:
                yield at, kind
                at += 2 * HOUR
                yield at, self._mend
                at += self.chance.uniform(2.5, 4) * DAY

    def _down(self, length: timedelta) -> None:
        self.ca.down_until = max(self.ca.down_until, self.clock.true + length)

    def _busy(self, length: timedelta) -> None:
        self.ca.busy_until = self.clock.true + length

    def _crash(self) -> None:
        self.crashing = True

    def _cut_off(self) -> None:
        self.cuts = 5

    def _cut(self, _names: Sequence[str]) -> None:
        if self.cuts:
            self.cuts -= 1
            raise Transient("the connection was reset")

    def _unproven(self) -> None:
        self.ca.unproven = set(self.chance.sample(sorted(self.days), len(self.days) // 2))

    def _set_off(self, by: timedelta) -> None:
        self.clock.off = by

    def _mend(self) -> None:
        self.clock.off = timedelta(0)
        self.ca.unproven = set()

    def _account_for_orders(self) -> None:
        """Every order led to a generation that went live, or met what was in its way."""
        used = {
            generation.meta.order
            for disk in self.disks.values()
            for generation in (disk.live, disk.newest)
            if generation and generation.meta
        }
        flying = {disk.flight for disk in self.disks.values()}
        for url, order in self.ca.orders.items():
            came_to = order.came_to or "nothing"
            if came_to not in INJECTED | {"a generation"} and url not in used | flying:
                self.problems.append(f"{url} for {order.names} came to {came_to}")


@pytest.mark.timeout(600)  # it takes 25 s of a processor that may be shared with others
def test_in_a_year_nothing_expires_no_limit_is_exceeded_and_no_order_wasted() -> None:
    """Outages of two days, 429s, clock jumps, suspends, crashes: the promise holds for all."""
    year = Year(seed=1, size=1000, length=365 * DAY)
    year.run()
    assert year.problems == []
    assert year.ca.exceeded == []
    assert len(year.ends) == 1000
    came_to = Counter(order.came_to for order in year.ca.orders.values())
    deployed = len([line for line in year.log if "restart" not in line])
    assert came_to["a generation"] == deployed > 40_000
    assert sum(came_to[each] for each in INJECTED) < 0.02 * deployed
    assert min(came_to[each] for each in INJECTED) > 10  # all of it did happen
    assert year.restarts > 10


def test_the_same_seed_gives_the_same_run() -> None:
    """What a test once found can be found again; and another seed is another year."""
    runs = []
    for seed in (7, 7, 8):
        year = Year(seed=seed, size=60, length=90 * DAY)
        year.run()
        assert (year.problems, year.ca.exceeded) == ([], [])
        runs.append(year.digest())
    assert runs[0] == runs[1] != runs[2]


def test_what_must_not_happen_is_noticed() -> None:
    """The negative control: a CA that is gone for good lets certificates expire, and it is said."""
    year = Year(seed=1, size=12, length=20 * DAY)
    year.run()
    year.ca.down_until = START + 1000 * DAY
    year.length = 40 * DAY
    year.run()
    assert len([each for each in year.problems if "expired" in each]) == 4  # those of six days
