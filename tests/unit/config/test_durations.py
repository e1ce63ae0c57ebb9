"""Durations: the one way to write a span of time, and what is said of every other way."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.config.durations import LONGEST, parse, render
from certrotd.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90d", timedelta(days=90)),
        ("12h 30m", timedelta(hours=12, minutes=30)),
        ("12h30m", timedelta(hours=12, minutes=30)),
        ("45s", timedelta(seconds=45)),
        ("1w", timedelta(weeks=1)),
        ("1w 2d 3h 4m 5s", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)),
        ("0s", timedelta(0)),
        (" 5m ", timedelta(minutes=5)),
    ],
)
def test_spans_are_read(text: str, span: timedelta) -> None:
    """An operator writes 90d, not 7776000."""
    assert parse(text) == span


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("90", "no unit (such as 90s)"),
        ("", "not a duration"),
        ("d", "not a duration"),
        ("1.5h", "not a duration"),
        ("-1d", "not a duration"),
        ("30m 12h", "in this order"),
        ("1h 1h", "not a duration"),
        ("1 h", "not a duration"),
        ("1h,30m", "not a duration"),
        ("P90D", "not a duration"),
        ("90D", "not a duration"),
        ("٩d", "not a duration"),
        ("101000w", "longer than a hundred years"),
        ("9999999999s", "longer than a hundred years"),
        ("1h\0", "not a duration"),
    ],
)
def test_a_text_that_is_no_duration_is_refused_with_an_example(text: str, said: str) -> None:
    """A number without a unit has been read as seconds by one tool and days by another."""
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert said in str(caught.value)


@given(st.integers(0, int(LONGEST.total_seconds())))
def test_a_span_reads_back_as_it_is_shown(seconds: int) -> None:
    """Defaults in the documentation are what an operator would write."""
    span = timedelta(seconds=seconds)
    assert parse(render(span)) == span


@given(st.text(max_size=40) | st.text("0123456789wdhms .", max_size=40))
def test_any_text_is_a_span_or_refused(text: str) -> None:
    """A typo is an error of the configuration, never a crash."""
    with suppress(InvalidInput):
        assert timedelta(0) <= parse(text) <= LONGEST
