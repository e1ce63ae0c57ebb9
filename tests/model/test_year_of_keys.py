"""A year of two hundred keyrings beside two hundred certificates, in one scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from certrotd.certs.limits.sliding_windows import LETS_ENCRYPT
from certrotd.id import Id
from certrotd.keyring.states import State, Version
from certrotd.keys import steps
from certrotd.keys.kind import KIND
from certrotd.keys.policy import Policy
from certrotd.keys.subject import KeyringSubject
from certrotd.lifecycle.decision import Asked
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.subject import Subject
from certrotd.scheduling.workload import Workload
from tests.fakes.cheap import CheapDisk, CheapRotator, WorldClock
from tests.fakes.keyrings import KeyBench
from tests.fakes.process import Kept, Process
from tests.model.test_year import DAY, HOUR, START, Year

pytestmark = pytest.mark.model

PERIODS = (30, 91, 91, 365, 365)
DEAF = "k0"
DEAF_FROM, DEAF_FOR = START + 107 * DAY, 7 * DAY


class BothKinds(Process):
    """A process that has keyrings to rotate, too."""

    def __init__(
        self,
        benches: Mapping[Id, KeyBench],
        disks: Mapping[str, CheapDisk],
        rotator: CheapRotator,
        clock: WorldClock,
        kept: Kept,
    ) -> None:
        self.benches = benches
        super().__init__(disks, rotator, clock, kept, limits=LETS_ENCRYPT)

    def workload(self, disks: Mapping[str, CheapDisk]) -> Workload:
        of_certificates = super().workload(disks)
        keyrings = {id_: KeyringSubject(bench) for id_, bench in self.benches.items()}

        def rotate(subject: Subject, asked: Asked) -> Report:
            if subject.id in self.benches:
                return subject.rotate(self.benches[subject.id].runner, asked)
            return of_certificates.rotate(subject, asked)

        def in_flight(subject: Id) -> bool:
            if subject in self.benches:
                return self.benches[subject].state.flying(str(subject))
            return of_certificates.in_flight(subject)

        return replace(
            of_certificates,
            subjects={**of_certificates.subjects, **keyrings},
            slots={**of_certificates.slots, KIND: 4},
            rotate=rotate,
            in_flight=in_flight,
        )


@dataclass
class YearOfBoth(Year):
    """Year, with ``rings`` keyrings; one of their consumers is deaf for a week."""

    rings: int = 200
    deaf: bool = True
    benches: dict[Id, KeyBench] = field(default_factory=dict)
    held: list[datetime] = field(default_factory=list)

    def _start(self) -> Process:
        if not self.benches:
            for number in range(self.rings):
                policy = Policy(
                    f"k{number}",
                    cryptoperiod=PERIODS[number % len(PERIODS)] * DAY,
                    outputs=("keys",),
                    waves=(("app",),),
                )
                bench = KeyBench(policy, clock=self.clock, patience=0)  # type: ignore[arg-type]
                self.benches[policy.id] = bench
        rotator = CheapRotator(self.disks, self.ca, self.clock, self.chance.random)
        rotator.heard = self._changed
        return BothKinds(self.benches, self.disks, rotator, self.clock, self.kept)

    def _troubles(self) -> Iterator[tuple[datetime, Callable[[], None]]]:
        at, hears_again = START + 10 * DAY, DEAF_FROM + DEAF_FOR
        if self.deaf:
            while at < DEAF_FROM - DAY:
                yield at, self._restart
                at += 15 * DAY
            at = DEAF_FROM
            yield at, self._deafen
            while (at := at + 12 * HOUR) < hears_again:
                yield at, self._look
            yield hears_again, self._hear
        while True:
            at += 20 * DAY
            yield at, lambda: self._down(DAY)
            yield at + 5 * DAY, self._restart

    def _deafen(self) -> None:
        self._of(DEAF).apps["app"].deaf = True

    def _hear(self) -> None:
        app = self._of(DEAF).apps["app"]
        app.deaf, app.has = False, app.shelf.delivered

    def _look(self) -> None:
        flying = {str(id_) for id_, each in self.benches.items() if each.journal.peek() is not None}
        if flying:
            self.held.append(self.clock.true)
            self.problems += [f"{each} is held, too" for each in flying if each != f"{KIND}/{DEAF}"]

    def _of(self, name: str) -> KeyBench:
        return self.benches[Id(KIND, name)]

    def late(self) -> dict[str, timedelta]:
        """By how much each keyring's keys encrypted beyond their cryptoperiod, at most."""
        found: dict[str, timedelta] = {}
        for id_, bench in self.benches.items():
            inspected = bench.store().inspect()
            versions = inspected.versions.all if inspected else ()
            for version in versions:
                over = encrypted_for(version, self.clock.true) - bench.policy.cryptoperiod
                if over > timedelta(0):
                    found[id_.name] = max(over, found.get(id_.name, over))
            if not versions:
                found[id_.name] = timedelta.max
        return found

    def rotations(self) -> int:
        """How many versions there are in all."""
        every = (bench.store().inspect() for bench in self.benches.values())
        return sum(len(each.versions.all) for each in every if each)


def encrypted_for(version: Version, now: datetime) -> timedelta:
    """How long it was active."""
    moves = version.transitions
    spans = [two.at - one.at for one, two in pairwise(moves) if one.to is State.ACTIVE]
    last = [now - moves[-1].at] if moves[-1].to is State.ACTIVE else []
    return sum([*spans, *last], timedelta(0))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer is asked every 15 minutes, not every minute: the year is to take seconds."""
    monkeypatch.setattr(steps, "ASK_AGAIN", timedelta(minutes=15))


@pytest.mark.timeout(600)  # it takes a minute of a processor that may be shared with others
def test_in_a_year_every_keyring_keeps_its_cryptoperiod_and_starves_no_certificate() -> None:
    """A consumer that is deaf for a week holds its own keyring, and that alone."""
    year = YearOfBoth(seed=1, size=200, length=365 * DAY)
    year.run()
    assert year.problems == []
    assert year.ca.exceeded == []
    assert len(year.ends) == 200
    late = year.late()
    assert set(late) == {DEAF}
    assert timedelta(0) < late[DEAF] < DEAF_FOR + DAY
    assert len(year.held) > 5, "it did hold"
    assert year.rotations() > 40 * 12 + 80 * 4 + 80
    assert year.restarts > 10


def test_keyrings_that_nobody_rotates_are_noticed() -> None:
    """The negative control: the consumers of all are deaf, and every short period is exceeded."""
    year = YearOfBoth(seed=1, size=4, length=5 * DAY, rings=10, deaf=False)
    year.run()
    assert year.late() == {}
    for bench in year.benches.values():
        bench.apps["app"].deaf = True
    year.length = 32 * DAY
    year.run()
    assert set(year.late()) == {"k0", "k5"}, "those of thirty days"
