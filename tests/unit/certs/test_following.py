"""What starts is heard of, and looked at soon after: in threads that end when they are told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from certrotd.certs import following
from certrotd.certs.following import Following, Looks, sources_of
from certrotd.certs.managed import Managed
from certrotd.certs.world import Bound
from certrotd.errors import NeedsOperator, Transient
from certrotd.id import Id
from certrotd.pki.generation import Behind
from tests.parts.process import wait_until
from tests.unit.certs.test_catching_up import LATE, Fleet
from tests.unit.certs.watched import WatchedCertificate


class Source:
    """Tells what the test has it tell; ``away`` while nobody answers."""

    source = "unix:///run/engine.sock"

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.told = threading.Semaphore(0)

    def starts(self) -> Iterator[str]:
        self.asked += 1
        if self.away:
            raise Transient("it is away")
        yield ""
        while True:
            if self.told.acquire(timeout=0.01):
                if self.away:
                    raise Transient("it went away")
                yield "web"
            else:
                yield ""


class Heard:
    """A certificate whose target is a fleet, and who is woken because of it."""

    def __init__(self) -> None:
        self.seen = WatchedCertificate(trailing=("nginx",))
        self.fleet = Fleet(self.seen.world.targets["nginx"])
        bound = Bound(self.fleet, ())
        self.seen.world.otherwise["target"] = lambda _name: bound
        self.source = Source()
        self.woken: list[Id] = []
        self.said: list[str] = []
        self.pauses: list[float] = []
        self.asked: list[Id] = []

    def following(self) -> Following:
        def in_flight(subject: Id) -> bool:
            self.asked.append(subject)
            return self.seen.flying

        return Following(
            {self.source.source: (self.source, [self.seen.managed])},
            in_flight=in_flight,
            wake=self.woken.append,
            report=self.said.append,
            pause=self._pause,
        )

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        time.sleep(0.001)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """In a hurry."""
    for name in ("SETTLES", "READY", "FLIGHT", "LEAST"):
        monkeypatch.setattr(following, name, 0.01)
    found = Heard()
    service = found.following()
    service.start()
    yield found
    service.close()


def until(condition: Callable[[], bool]) -> None:
    wait_until(condition, what="it is heard")


def test_what_starts_is_looked_at(heard: Heard) -> None:
    """Also what started while nobody listened; one that is up to date wakes nobody."""
    until(lambda: len(heard.asked) > 0)
    assert heard.woken == []
    heard.fleet.late = [LATE]
    heard.source.told.release()
    until(lambda: bool(heard.woken))
    assert heard.woken[0] == heard.seen.managed.policy.id
    assert heard.said == []


def test_one_that_is_being_rotated_is_looked_at_afterwards(heard: Heard) -> None:
    """A rotation restarts containers itself."""
    heard.seen.flying, heard.fleet.late = True, [LATE]
    heard.source.told.release()
    asked = len(heard.asked)
    until(lambda: len(heard.asked) > asked + 3)
    assert heard.woken == []
    heard.seen.flying = False
    until(lambda: bool(heard.woken))


def test_an_engine_that_is_away_is_said_once(heard: Heard) -> None:
    """It is asked again, less and less often; what started meanwhile is looked at."""
    until(lambda: len(heard.asked) > 0)
    heard.source.away = True
    heard.source.told.release()
    until(lambda: len(heard.pauses) > 9)
    assert heard.pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert heard.said == ["it went away; certrotd asks again until it answers"]
    heard.fleet.late = [LATE]
    heard.source.away = False
    until(lambda: bool(heard.woken))
    assert heard.said[1:] == [f"{heard.source.source} tells again what starts"]


def test_a_certificate_is_due_once_however_often_it_is_asked_for() -> None:
    """Ten containers that start at once are one look; the same again puts it off no further."""
    now = 0.0
    looks, managed = Looks(lambda: now), WatchedCertificate().managed
    looks.ask([managed], 1)
    now = 1.0
    looks.ask([managed] * 10, 1)
    looks.ask([managed], 15)
    assert looks.next() is managed
    now = 15.0
    looks.ask([managed], 15)
    now = 16.0
    assert looks.next() is managed
    looks.close()
    assert looks.next() is None


def test_a_host_on_which_something_always_starts_is_not_always_looked_at() -> None:
    """Each look asks of every container, and one with a probe shakes hands with it."""
    now, looked = 0.0, 0
    looks, managed = Looks(lambda: now), WatchedCertificate().managed
    for second in range(60):
        now = float(second)
        looks.ask([managed], 1)
        while looks._due and min(looks._due.values(), key=lambda due: due[0])[0] <= now:
            assert looks.next() is managed
            looked += 1
    assert 10 <= looked <= 12


def test_certificates_are_heard_of_by_the_sources_of_their_targets() -> None:
    """One for all targets that hear the same; what cannot be built, or hears nothing, is not."""
    both: Managed = WatchedCertificate(trailing=("a", "b")).managed
    one: Managed = WatchedCertificate(trailing=("deaf", "broken", "b")).managed
    source = Source()

    def target(name: str) -> object:
        if name == "broken":
            raise NeedsOperator("it cannot be built")
        return object() if name == "deaf" else source

    assert sources_of([both, one], target) == {source.source: (source, [both, one])}


def test_who_needs_a_person_wakes_nobody(heard: Heard) -> None:
    """A rotation would change nothing; the check of the certificate says it."""
    heard.fleet.late = [Behind("b", "is old", "make it anew")]
    asked = len(heard.asked)
    heard.source.told.release()
    until(lambda: len(heard.asked) > asked)
    assert heard.woken == []
