"""The tick goes on through jumps of the wall clock, late or early, without a storm of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.clock import Clock, SystemClock
from certrotd.scheduling.ticking import Every, Ticking
from tests.parts.process import wait_until

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@contextmanager
def ticking(clock: Clock, seconds: float) -> Iterator[tuple[Ticking, list[int]]]:
    """Ticks that are counted."""
    count: list[int] = []
    made = Ticking(lambda: count.append(1), clock, seconds)
    made.start()
    try:
        yield made, count
    finally:
        made.stop()


@pytest.mark.parametrize("late", [SECOND, timedelta(days=365)])
def test_a_jump_forward_is_one_run_and_not_one_a_second(late: timedelta) -> None:
    """APScheduler lists what was missed before it coalesces: a year of seconds fills the memory."""
    trigger, now = Every(SECOND), NOW + late
    runs, run = [], NOW
    while run <= now:
        runs.append(run)
        run = trigger.get_next_fire_time(run, now)
    assert len(runs) == 1
    assert run == now + SECOND


def test_on_time_the_interval_is_kept() -> None:
    """The control: no drift."""
    trigger = Every(SECOND)
    assert trigger.get_next_fire_time(NOW, NOW + SECOND / 2) == NOW + SECOND
    assert trigger.get_next_fire_time(None, NOW) == NOW + SECOND


def test_the_ticker_ticks_at_once_and_again() -> None:
    """A start that waits is a late one; and each tick counts as one that was on time."""
    clock = _Stopped()
    with ticking(clock, 0.05) as (made, count):
        wait_until(lambda: len(count) >= 3)
        assert (made.behind, made.keep_up()) == (0.0, False)
        clock.seconds = 100.0
        wait_until(lambda: made.behind == 0.0)
        assert made.keep_up() is False


def test_a_clock_set_back_does_not_end_the_ticks() -> None:
    """By the wall clock the next run of a clock set back by a day is a day away."""
    clock, count = _Ahead(), list[int]()
    made = Ticking(lambda: count.append(1), clock, 0.05)  # planned while the clock is ahead
    made.start()
    try:
        wait_until(lambda: made.behind > 0.2)
        assert count == []
        clock.ahead = timedelta(0)
        assert made.keep_up() is True
        wait_until(lambda: len(count) >= 3)
    finally:
        made.stop()


def test_a_tick_that_takes_long_is_never_doubled() -> None:
    """Two looks at the same certificate would be two rotations."""
    at_once, most, go = [0], [0], threading.Event()

    def tick() -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        go.wait(60)
        at_once[0] -= 1

    made = Ticking(tick, SystemClock(), 0.02)
    made.start()
    try:
        wait_until(lambda: most[0] > 0)
        made._ran -= 1
        assert made.keep_up() is True
        time.sleep(0.3)  # fifteen times as long as an interval
    finally:
        made.stop()
        go.set()
    assert most == [1]


class _Stopped(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class _Ahead(SystemClock):
    ahead = timedelta(days=1)

    def now(self) -> datetime:
        return super().now() + self.ahead
