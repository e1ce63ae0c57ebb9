"""When a CA wants a certificate to be renewed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from certrotd.pki.renewal import (
    LONGEST_POLL,
    POLL,
    RETRY,
    SHORTEST_POLL,
    RenewalInfo,
    Suggestion,
    renewal_id,
    suggested,
    unanswered,
)
from tests.builders import DAY, NOW, facts

told = partial(suggested, settled=NOW - DAY)
INFO = RenewalInfo(NOW + 10 * DAY, NOW + 12 * DAY, "https://ca.test/why")


def test_a_certificate_is_called_as_in_the_rfc() -> None:
    """The example of RFC 9773 §4.1; the serial's sign octet belongs to it."""
    known = replace(
        facts(), serial="87654321", authority_key="69885b6b87464041e1b37b847ba0ae2cde01c8d4"
    )
    assert renewal_id(known) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    assert renewal_id(replace(known, serial="7f")).endswith(".fw")
    assert renewal_id(replace(known, authority_key="")) == ""


def test_a_moment_is_drawn_once() -> None:
    """An answer that says the same again does not put it off; another window draws another."""
    first = told(None, 5, INFO, draw=0.25, now=NOW)
    assert first.at == NOW + 10.5 * DAY
    assert first.ask_after == NOW + POLL
    again = told(first, 5, replace(INFO, retry_after=3 * RETRY), draw=0.9, now=NOW + DAY)
    assert (again.at, again.ask_after) == (first.at, NOW + DAY + 3 * RETRY)
    moved = replace(INFO, start=NOW, end=NOW + DAY)
    assert told(first, 5, moved, draw=0.5, now=NOW).at == NOW + DAY / 2
    assert told(first, 6, INFO, draw=0.75, now=NOW).at == NOW + 11.5 * DAY


def test_the_first_answer_about_what_is_new_is_believed_later() -> None:
    """And of what is older at once."""
    gone = replace(INFO, start=NOW - DAY, end=NOW - DAY / 2)
    first = suggested(None, 5, gone, settled=NOW + DAY, draw=0.5, now=NOW)
    assert first.at == NOW + DAY
    assert suggested(first, 5, gone, settled=NOW + DAY, draw=0.5, now=NOW).at == NOW + DAY
    assert told(None, 5, gone, draw=0.5, now=NOW).at == NOW - DAY * 3 / 4


def test_a_window_that_moves_with_the_clock_is_an_order_a_day() -> None:
    """It is another one at each answer, and always over; one that is pulled forward counts."""
    gone = replace(INFO, start=NOW - DAY, end=NOW - DAY / 2)
    moved = replace(gone, end=NOW)
    first = suggested(None, 5, gone, settled=NOW + DAY, draw=0.5, now=NOW)
    assert suggested(first, 5, moved, settled=NOW + DAY, draw=0.5, now=NOW).at == NOW + DAY
    planned = suggested(None, 5, INFO, settled=NOW + DAY, draw=0.5, now=NOW)
    assert suggested(planned, 5, moved, settled=NOW + DAY, draw=0.5, now=NOW).at == NOW - DAY / 2


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (timedelta(seconds=1), SHORTEST_POLL),
        (timedelta(hours=2), timedelta(hours=2)),
        (timedelta(days=7), LONGEST_POLL),
    ],
)
def test_how_long_an_answer_holds_is_bounded(asked: timedelta, kept: timedelta) -> None:
    """A minute at least, a day at most (RFC 9773 §4.3.2), whether it is one or a refusal."""
    assert told(None, 5, replace(INFO, retry_after=asked), draw=0, now=NOW).ask_after == (
        NOW + kept
    )
    assert unanswered(None, 5, "busy", retry_after=asked, now=NOW).ask_after == NOW + kept


def test_a_window_that_is_known_stays_without_an_answer() -> None:
    """Of the same generation alone."""
    known = told(None, 5, INFO, draw=0.25, now=NOW)
    later = unanswered(known, 5, "away", retry_after=None, now=NOW + DAY)
    assert later == replace(known, ask_after=NOW + DAY + RETRY, why="away")
    other = unanswered(known, 6, "away", retry_after=None, now=NOW)
    assert (other.info, other.at) == (None, None)


@pytest.mark.parametrize(
    "kept",
    [told(None, 5, INFO, draw=0.25, now=NOW), Suggestion(5, NOW, why="the CA has none")],
    ids=["window", "none"],
)
def test_it_is_kept_as_it_is(kept: Suggestion) -> None:
    """And what is half of one is refused."""
    data = kept.to_json()
    assert Suggestion.from_json(data) == kept
    other = None if kept.at else NOW.isoformat()
    with pytest.raises(ValueError, match="without a moment"):
        Suggestion.from_json({**data, "at": other})
