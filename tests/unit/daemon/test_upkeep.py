"""What is looked after at the start and every hour, in a thread of its own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.clock import ManualClock
from certrotd.daemon.upkeep import EVERY, Upkeep
from certrotd.errors import Failure, Transient
from certrotd.id import Id
from certrotd.observers import Observer

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Heard(Observer):
    """What was told, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self.said.append(f"{what}: {failure.message}")

    def calmed(self, what: Id | str) -> None:
        self.said.append(f"{what}: over")


class Bench:
    """Upkeep whose thread is run by the test."""

    def __init__(self) -> None:
        self.clock, self.heard = ManualClock(NOW), Heard()
        self.wrong: Exception | None = None
        self.threads: list[Callable[[], None]] = []
        self.refuses = False
        self.stands = True
        self.upkeep = Upkeep(
            lambda: {"the log": self.look, "the rest": lambda: None},
            self.clock,
            observer=self.heard,
            may=lambda: self.stands,
            spawn=self.spawn,
        )

    def look(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    def spawn(self, _name: str, job: Callable[[], None]) -> None:
        if self.refuses:
            raise RuntimeError("can't start new thread")
        self.threads.append(job)

    def hour(self) -> list[str]:
        """An hour later: what is told."""
        self.heard.said.clear()
        self.clock.advance(timedelta(seconds=EVERY))
        self.upkeep.tick()
        self.threads.pop()()
        return self.heard.said


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_upkeep_runs_at_the_start_and_every_hour(bench: Bench) -> None:
    """A tick in between, or while it still goes on, does nothing."""
    bench.upkeep.tick()
    assert len(bench.threads) == 1
    bench.clock.advance(timedelta(seconds=EVERY))
    bench.upkeep.tick()
    assert len(bench.threads) == 1
    bench.threads.pop()()
    bench.upkeep.tick()
    bench.upkeep.tick()
    assert len(bench.threads) == 1
    bench.threads.pop()()
    bench.upkeep.tick()
    assert bench.threads == []


@pytest.mark.parametrize("wrong", [Transient("no"), OSError(5, "no")])
def test_trouble_is_shown_until_it_ends(bench: Bench, wrong: Exception) -> None:
    """An earlier process may have told of trouble that is over by now."""
    assert bench.hour() == ["the log: over", "the rest: over"]
    assert bench.hour() == []
    bench.wrong = wrong
    assert [said.partition(": ")[0] for said in bench.hour()] == ["the log"]
    bench.wrong = None
    assert bench.hour() == ["the log: over"]


def test_without_a_thread_the_next_tick_tries_again(bench: Bench) -> None:
    bench.refuses = True
    bench.upkeep.tick()
    bench.refuses = False
    bench.upkeep.tick()
    assert len(bench.threads) == 1


def test_directories_that_are_away_are_not_made_anew(bench: Bench) -> None:
    """What is due is done as soon as they are back."""
    bench.stands = False
    bench.upkeep.tick()
    assert bench.threads == []
    bench.stands = True
    bench.upkeep.tick()
    assert len(bench.threads) == 1
