"""Everything comes up, evenly, and no more often than it should."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from certrotd.watching.staggered_schedule import PACE, StaggeredSchedule

HOUR = 3600.0
NAMES = [f"certificate-{number}" for number in range(1000)]


def schedule(*names: str, every: float = HOUR, start: float = 0.0) -> StaggeredSchedule[str]:
    """A schedule of names."""
    return StaggeredSchedule(names, str, every=every, start=start)


def greeted() -> StaggeredSchedule[str]:
    """A schedule of the thousand that have all come up once, at a time nothing else was due."""
    made = schedule(*NAMES)
    list(made.due(PACE * len(NAMES)))
    return made


def test_in_the_beginning_everything_comes_up_quickly_and_one_by_one() -> None:
    """A restart must not leave an operator in the dark for an hour, nor take all of a processor."""
    made = schedule("a", "b", "c", every=1e6)
    assert len(list(made.due(0))) == 1
    assert len(list(made.due(PACE))) == 1
    assert len(list(made.due(5 * PACE))) == 1
    assert list(made.due(10)) == []


def test_every_entry_comes_up_once_in_every_span() -> None:
    """And always at the same moment of it."""
    made = greeted()
    list(made.due(HOUR))
    first = {name: second for second in range(3600, 7200) for name in made.due(second)}
    second = {name: second - 3600 for second in range(7200, 10800) for name in made.due(second)}
    assert set(first) == set(NAMES)
    assert first == second


def test_entries_are_spread_over_the_span() -> None:
    """Ten thousand looks an hour are three a second."""
    made = greeted()
    list(made.due(HOUR))
    minutes = Counter(second // 60 for second in range(3600, 7200) for _ in made.due(second))
    assert len(minutes) == 60
    assert max(minutes.values()) < 40


def test_a_late_query_gets_every_entry_once() -> None:
    """A machine that slept for a week owes no week of looks."""
    made = greeted()
    week = 7 * 24 * HOUR
    assert Counter(made.due(week)) == Counter(NAMES)
    assert list(made.due(week)) == []


def test_an_empty_schedule_has_no_entries() -> None:
    """A configuration without an entry."""
    assert list(schedule().due(1e9)) == []


@given(
    st.lists(st.text(max_size=5), unique=True, max_size=20),
    st.lists(st.floats(0.1, 200), min_size=1, max_size=40),
    st.integers(1, 100),
)
def test_everybody_came_up_within_a_span_however_often_one_asks(
    names: list[str], pauses: list[float], every: int
) -> None:
    """Whenever one asks, each has come up since its last moment, which is a span ago at most."""
    made, now, seen = schedule(*names, every=every, start=50.0), 50.0, dict[str, float]()
    for pause in pauses:
        now += pause
        seen |= dict.fromkeys(made.due(now), now)
        if now >= 50.0 + every:
            assert all(seen[name] > now - every for name in names)
