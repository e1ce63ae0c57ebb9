"""How often a Secret that somebody else breaks is put right."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certrotd.stores.restoring import MOST, WITHIN, again_at, counted
from tests.builders import MINUTE, NOW, SECOND


def test_the_first_times_are_answered_at_once() -> None:
    """Somebody made a mistake."""
    times = [NOW - MINUTE * each for each in range(MOST)]
    assert again_at([], now=NOW) is None
    assert again_at(times[1:], now=NOW) is None
    assert again_at(times, now=NOW) == times[-1] + WITHIN


def test_it_is_tried_again_when_the_oldest_is_long_ago() -> None:
    """And no sooner."""
    times = [NOW, NOW + MINUTE, NOW + 2 * MINUTE]
    assert again_at(times, now=NOW + WITHIN - SECOND) == NOW + WITHIN
    assert again_at(times, now=NOW + WITHIN) is None


def test_times_to_come_are_not_counted() -> None:
    """A clock that was ahead would keep the Secret broken for as long."""
    assert again_at([NOW + WITHIN * each for each in range(1, 9)], now=NOW) is None


@given(st.lists(st.integers(0, 7200), max_size=200))
def test_no_hour_sees_more_than_the_most(writes: list[int]) -> None:
    """Whenever somebody writes."""
    restored: list[datetime] = []
    for second in sorted(writes):
        now = NOW + timedelta(seconds=second)
        if again_at(restored, now=now) is None:
            restored = [*counted(restored, now=now), now]
        assert len(counted(restored, now=now)) <= MOST
