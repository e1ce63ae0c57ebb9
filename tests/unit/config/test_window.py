"""Maintenance windows: how they are written, and when they open."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from certrotd.config.window import MaintenanceWindow
from certrotd.window import Window

ADAPTER: TypeAdapter[Window] = TypeAdapter(MaintenanceWindow)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)  # a Monday


def window(text: str) -> Window:
    """What the text says."""
    return ADAPTER.validate_python(text)


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        ("01:00-05:00", "2026-06-02T01:00"),
        ("11:00-13:00", "2026-06-01T12:00"),
        ("12:00-13:00", "2026-06-01T12:00"),
        ("11:00-12:00", "2026-06-02T11:00"),
        ("22:00-04:00", "2026-06-01T22:00"),
        ("13:00-12:30", "2026-06-01T12:00"),  # it has been open since yesterday
        ("mon 13:00-12:30", "2026-06-01T13:00"),  # yesterday was no Monday
        ("sun 13:00-12:30", "2026-06-01T12:00"),
        ("sat,sun 22:00-04:00", "2026-06-06T22:00"),
        ("mon 11:00-11:30", "2026-06-08T11:00"),
        ("fri-mon 01:00-05:00", "2026-06-05T01:00"),
        ("01:00-05:00 Europe/Berlin", "2026-06-01T23:00"),
        ("mon 01:00-05:00 Europe/Berlin", "2026-06-07T23:00"),
        ("13:30-14:30 Europe/Berlin", "2026-06-01T12:00"),
    ],
)
def test_a_window_opens_when_it_says(text: str, opens: str) -> None:
    """The days are those on which it begins, by the clock of its zone."""
    assert window(text).opens_at(NOON) == datetime.fromisoformat(opens).replace(tzinfo=UTC)


@pytest.mark.parametrize("day", [28, 29, 30])
def test_a_window_in_the_hour_that_does_not_exist_opens_once(day: int) -> None:
    """Clocks go forward on 29 March 2026 in Berlin, from 2 to 3."""
    night = window("02:00-03:30 Europe/Berlin")
    now = datetime(2026, 3, day, 12, tzinfo=UTC) - timedelta(days=1)
    opens = night.opens_at(now)
    assert timedelta(0) < opens - now < timedelta(days=1)
    assert night.opens_at(opens) == opens


@pytest.mark.parametrize(
    ("days", "opens"),
    [("", "2026-03-30T00:30"), ("sun ", "2026-04-05T00:30"), ("sat,sun ", "2026-04-04T00:30")],
)
def test_a_window_of_which_the_clocks_leave_nothing_does_not_open(days: str, opens: str) -> None:
    """It would be promised for a moment at which it is closed; the next one is named instead."""
    night = window(f"{days}02:30-03:00 Europe/Berlin")
    expected = datetime.fromisoformat(opens).replace(tzinfo=UTC)
    for minutes in (0, 60, 89, 90, 91, 24 * 60 - 1):
        assert night.opens_at(datetime(2026, 3, 29, tzinfo=UTC) + timedelta(minutes=minutes)) == (
            expected
        )
    assert night.opens_at(expected) == expected


@pytest.fixture
def no_zones() -> Iterator[Callable[[], None]]:
    """Takes the tz database away, and what was read of it."""

    def remove() -> None:
        zoneinfo.reset_tzpath(to=[])
        zoneinfo.ZoneInfo.clear_cache()
        assert not zoneinfo.TZPATH

    yield remove
    zoneinfo.reset_tzpath()


def test_a_window_opens_without_the_database_that_it_was_read_from(
    no_zones: Callable[[], None],
) -> None:
    """An upgrade replaces it under a daemon that runs; no renewal fails because of that."""
    night = window("01:00-05:00 Europe/Berlin")
    no_zones()
    assert night.opens_at(NOON) == datetime(2026, 6, 1, 23, tzinfo=UTC)
    assert str(night) == "01:00-05:00 Europe/Berlin"
    with pytest.raises(ValidationError, match="this machine knows no time zone"):
        window("01:00-05:00 Europe/Paris")


@given(
    st.integers(0, 366 * 24 * 60),
    st.sampled_from(["22:00-04:00", "mon 01:00-01:01", "tue,sat 00:00-23:59 America/New_York"]),
)
def test_every_window_opens_within_eight_days_and_is_open_then(minutes: int, text: str) -> None:
    """Whatever the time; a rotation never waits for ever."""
    at = NOON + timedelta(minutes=minutes)
    opens = window(text).opens_at(at)
    assert timedelta(0) <= opens - at <= timedelta(days=8)
    assert window(text).opens_at(opens) == opens


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1:00-5:00",
        "01:00-24:00",
        "01:00-01:00",
        "monday 01:00-05:00",
        "mon- 01:00-05:00",
        "01:00-05:00 Nowhere/Atlantis",
        "01:00-05:00 ../../etc/passwd",
        "01:00-05:00 /etc/passwd",
        "mon,01:00-05:00",
        7,
        None,
        ["01:00-05:00"],
    ],
)
def test_an_invalid_window_is_refused_with_an_example(text: object) -> None:
    """In one line."""
    with pytest.raises(ValidationError) as met:
        ADAPTER.validate_python(text)
    [error] = met.value.errors()
    assert "01:00-05:00" in error["msg"]
    assert "\n" not in error["msg"]


@pytest.mark.parametrize("text", ["01:00-05:00 UTC", "mon,sun 22:00-04:00 Europe/Berlin"])
def test_a_window_is_shown_as_it_is_written(text: str) -> None:
    """Whoever reads why it waits finds it in the configuration."""
    assert str(window(text)) == text
