"""Time as an argument, and how much of it is left."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import Clock, Deadline, ManualClock, SystemClock

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECONDS = st.floats(0, 1e6)


class TestSystemClock:
    """The machine's own."""

    def test_the_system_clock_has_a_time_zone_and_advances(self) -> None:
        """A naive time compared with a certificate's dates is a TypeError in production."""
        clock = SystemClock()
        assert clock.now().utcoffset() == timedelta(0)
        first = clock.monotonic()
        clock.sleep(0.01)
        assert clock.monotonic() - first >= 0.01

    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    def test_no_time_is_not_waited_for(self, seconds: float) -> None:
        """time.sleep would raise; a deadline that has passed is nothing unusual."""
        SystemClock().sleep(seconds)


class TestManualClock:
    """The tests' own."""

    def test_the_manual_clock_stands_still_until_somebody_sleeps(self) -> None:
        """A test of days takes milliseconds."""
        clock = ManualClock(NOW)
        assert (clock.now(), clock.monotonic()) == (NOW, 0.0)
        clock.sleep(90)
        assert (clock.now(), clock.monotonic()) == (NOW + timedelta(seconds=90), 90.0)

    def test_a_negative_sleep_does_not_go_back(self) -> None:
        """As on the machine's clock."""
        clock = ManualClock(NOW)
        clock.sleep(-5)
        assert (clock.now(), clock.monotonic()) == (NOW, 0.0)

    def test_less_than_a_microsecond_passes_too(self) -> None:
        """The wall clock counts no less; a loop that pauses until its deadline has to end."""
        deadline = Deadline(ManualClock(NOW), 1.0)
        deadline.pause(1.0 - 1e-8)
        assert not deadline.passed
        deadline.pause(1.0)
        assert deadline.passed

    @pytest.mark.parametrize("days", [-400, 400])
    def test_setting_the_wall_clock_lets_no_time_pass(self, days: int) -> None:
        """NTP steps must not end or prolong a deadline."""
        clock = ManualClock(NOW)
        deadline = Deadline(clock, 10)
        clock.jump(timedelta(days=days))
        assert clock.now() == NOW + timedelta(days=days)
        assert deadline.remaining == 10.0


class TestDeadline:
    """A point that a chain of waits must not pass."""

    def test_a_deadline_has_passed_exactly_at_its_end(self) -> None:
        """The edge on both sides."""
        clock = ManualClock(NOW)
        deadline = Deadline(clock, 10)
        clock.sleep(9)
        assert (deadline.passed, deadline.remaining) == (False, 1.0)
        clock.sleep(1)
        assert (deadline.passed, deadline.remaining) == (True, 0.0)
        clock.sleep(1)
        assert deadline.remaining == 0.0

    def test_a_pause_ends_with_it(self) -> None:
        """A retry after a minute does not outlive a deadline of a second."""
        clock = ManualClock(NOW)
        deadline = Deadline(clock, 10)
        deadline.pause(4)
        assert clock.monotonic() == 4.0
        deadline.pause(60)
        assert (clock.monotonic(), deadline.passed) == (10.0, True)
        deadline.pause(60)
        assert clock.monotonic() == 10.0

    @given(SECONDS, SECONDS, SECONDS)
    def test_a_deadline_within_another_never_outlives_it(
        self, outer: float, spent: float, inner: float
    ) -> None:
        """However the time was divided, the whole takes no longer than was promised."""
        clock = ManualClock(NOW)
        deadline = Deadline(clock, outer)
        clock.sleep(spent)
        part = deadline.within(inner)
        assert part.remaining <= deadline.remaining + 1e-6
        assert part.remaining <= inner + 1e-6
        assert part.clock is clock

    def test_a_deadline_needs_nothing_but_a_clock(self) -> None:
        """Both clocks are one Protocol."""
        clocks: list[Clock] = [SystemClock(), ManualClock(NOW)]
        for clock in clocks:
            assert not Deadline(clock, 60).passed
            assert Deadline(clock, -1).passed
