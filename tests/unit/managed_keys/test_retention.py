"""Old versions are retired as late as the policy says, and never one that is to be kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.managed_keys.retention import Retention

DAY = timedelta(days=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def state_of(*ages: int | None, first: int = 1, trimmed: int = 0) -> ManagedState:
    """Versions so many days old, from the oldest; they decrypt from ``first`` on."""
    made = [
        KeyVersion(
            str(number),
            None if age is None else NOW - age * DAY,
            decrypts=number >= trimmed + first,
        )
        for number, age in enumerate(ages, trimmed + 1)
    ]
    return ManagedState("vault", "k", tuple(made), min_available_version=trimmed + 1)


@pytest.mark.parametrize(
    ("keep", "after", "ages", "oldest"),
    [
        (1, 30, (90,), None),
        (1, 30, (90, 29), None),
        (1, 30, (90, 30), "2"),
        (1, 30, (90, 60, 29), "2"),
        (1, 30, (120, 90, 60, 31), "4"),
        (2, 30, (120, 90, 60, 31), "3"),
        (4, 30, (120, 90, 60, 31), None),
        (9, 30, (120, 90, 60, 31), None),
        (1, 30, (90, None), None),
        (1, 30, (120, 90, None, 31), "2"),
        (1, 30, (120, 10, 60), None),
    ],
    ids=str,
)
def test_a_version_is_retired_when_the_next_one_has_encrypted_so_long(
    keep: int, after: int, ages: tuple[int | None, ...], oldest: str | None
) -> None:
    """Without a date, or with dates that contradict each other, it is kept."""
    found = Retention(keep, after * DAY).oldest(state_of(*ages), now=NOW)
    assert (found.id if found else None) == oldest


def test_what_is_retired_already_is_not_retired_again() -> None:
    """The next one is told with its time."""
    retention, state = Retention(1, 30 * DAY), state_of(90, 60, 10, first=2)
    assert retention.oldest(state, now=NOW) is None
    assert retention.due(state) == NOW + 20 * DAY
    assert retention.due(state_of(90, 60, 10, first=3)) is None
    assert retention.due(state_of(90, 60, 10)) == NOW - 30 * DAY


@pytest.mark.parametrize(
    ("state", "broken"),
    [
        (state_of(90, 60, 40, 10), False),
        (state_of(None, 60, 40, 10, first=2), False),
        (state_of(None, None, 40, 10, first=3), False),
        (state_of(None, None, None, 10, first=4), True),  # of the two that are kept
        (state_of(None, 29, 20, 10, first=2), True),  # too soon
        (state_of(None, None, 20, 10, first=2), True),  # nobody knows
        (state_of(60, 40, 10, trimmed=1), False),
        (state_of(20, 10, trimmed=2), True),
    ],
)
def test_a_version_that_is_withheld_too_soon_is_noticed(state: ManagedState, broken: bool) -> None:
    """Or trimmed: then it is lost."""
    assert Retention(2, 30 * DAY).broken(state, now=NOW) is broken


@given(
    keep=st.integers(1, 6),
    after=st.integers(0, 60),
    steps=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    first=st.integers(1, 8),
)
def test_what_certrotd_retires_breaks_no_policy(
    keep: int, after: int, steps: list[int], first: int
) -> None:
    """It only ever goes up, leaves the newest, and is due exactly when there is something to do."""
    ages = [sum(steps[index:]) for index in range(len(steps))]
    state = state_of(*ages, first=min(first, len(ages)))
    retention = Retention(keep, after * DAY)
    oldest, due = retention.oldest(state, now=NOW), retention.due(state)
    assert (oldest is not None) is (due is not None and due <= NOW)
    if oldest is None:
        return
    assert int(oldest.id) > int(state.oldest_decrypting.id)
    assert int(oldest.id) <= max(1, len(ages) - keep + 1)
    made = (replace(each, decrypts=int(each.id) >= int(oldest.id)) for each in state.versions)
    assert not retention.broken(replace(state, versions=tuple(made)), now=NOW)
