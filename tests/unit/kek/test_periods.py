"""How often services rotate keys by themselves: what they take, and as they write it."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import InvalidInput
from certrotd.kek.managed.periods import checked, parse_iso


@given(st.integers(1, 99_999))
def test_days_are_read_as_they_are_written(days: int) -> None:
    """So is what is set seen again."""
    assert parse_iso(f"P{days}D") == timedelta(days=days)


@pytest.mark.parametrize(
    ("text", "days"), [("P1Y", 365), ("P2M", 60), ("P3W", 21), ("P1Y6M2D", 547), ("P0D", 0)]
)
def test_longer_units_have_their_days(text: str, days: int) -> None:
    """Azure's policies are written in months and years, too."""
    assert parse_iso(text) == timedelta(days=days)


@pytest.mark.parametrize(
    "text", ["", "P", "PT1H", "P1.5D", "1D", "P-1D", "P1D\n", "P999999D", "P٣D"]
)
def test_other_durations_are_refused(text: str) -> None:
    """Rather than read as something else."""
    with pytest.raises(ValueError, match="no duration in days"):
        parse_iso(text)


@given(st.text(max_size=20))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    """It comes from outside."""
    with contextlib.suppress(ValueError):
        parse_iso(text)


@given(st.integers(-10, 4000), st.integers(0, 1))
def test_a_period_is_within_what_the_service_takes(days: int, seconds: int) -> None:
    """Whole days, from the least to the most."""
    period = timedelta(days=days, seconds=seconds)
    if seconds or not 28 <= days <= 3650:
        with pytest.raises(InvalidInput) as refused:
            checked(period, "the key", "azure-keyvault")
        assert "28 to 3650 whole days" in refused.value.hint
    else:
        assert checked(period, "the key", "azure-keyvault") == days
