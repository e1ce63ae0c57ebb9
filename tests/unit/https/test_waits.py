"""How long servers ask to be left alone, in seconds and as a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.https.waits import asked_wait, http_date

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)


@given(st.integers(min_value=0, max_value=10**30))
def test_seconds_are_read_and_bounded(seconds: int) -> None:
    """An absurd number must not overflow a timedelta."""
    wait = asked_wait(str(seconds), now=NOW, longest=WEEK)
    expected = timedelta(seconds=seconds) if seconds < WEEK.total_seconds() else None
    assert wait == expected if expected is not None else wait in (WEEK, None)


@given(st.integers(min_value=-(10**8), max_value=10**8))
def test_http_dates_are_read_and_never_negative(seconds: int) -> None:
    """Half of Pebble's answers carry a date (RFC 9110 §10.2.3)."""
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert asked_wait(header, now=NOW, longest=WEEK) == min(
        max(timedelta(seconds=seconds), timedelta(0)), WEEK
    )


@given(st.text(max_size=40))
def test_any_header_is_a_wait_or_none(header: str) -> None:
    """Garbage is no reason to stop."""
    wait = asked_wait(header, now=NOW, longest=WEEK)
    assert wait is None or timedelta(0) <= wait <= WEEK


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 0 ", 0),
        ("-1", 0),
        ("1.5", 1.5),
        ("3, 9", 9),
        ("999999999", 86400),
        ("Tue, 01 Jan 2030 13:00:00 GMT", 3600),
        ("Tue, 01 Jan 2030 11:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400),
        (None, None),
        (7, None),
        ("", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_a_wait_is_seconds_or_a_date(header: object, seconds: float | None) -> None:
    """Absent and zero are different; a day is the most unless somebody waits for longer."""
    wait = None if seconds is None else timedelta(seconds=seconds)
    assert asked_wait(header, now=NOW) == wait


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun, 06 Nov 1994 08:49:37 -0000", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun, 06 Nov 1994 08:49:37 +0200", datetime(1994, 11, 6, 6, 49, 37, tzinfo=UTC)),
        (None, None),
        ("", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
    ],
)
def test_a_date_is_read_as_http_writes_it(text: str | None, moment: datetime | None) -> None:
    """And nothing else is a moment."""
    assert http_date(text) == moment
