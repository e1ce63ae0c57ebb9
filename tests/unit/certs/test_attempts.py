"""Attempts left: what is left to hope for, and when somebody should be woken."""

from datetime import UTC, datetime, timedelta

from certrotd.lifecycle.attempts import MOST, attempts_left

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def left(failures: int, at: datetime | None, end: timedelta, due: timedelta = -DAY) -> int:
    """The attempts of a certificate that ends and is due so long from now."""
    return attempts_left(failures, at, due=NOW + due, not_after=NOW + end, now=NOW)


def test_an_expired_certificate_has_none_left() -> None:
    """The answer for an alert that comes too late."""
    assert left(3, NOW, -DAY) == left(0, None, timedelta(0)) == 0


def test_the_last_minute_holds_one_attempt() -> None:
    """The backoff is never below a minute."""
    assert left(0, None, timedelta(seconds=59)) == 1
    assert left(4, NOW, timedelta(seconds=59)) == 0
    assert left(4, NOW, timedelta(seconds=150)) == 2


def test_every_failure_leaves_fewer() -> None:
    """It counts down, or nobody would believe it."""
    counts = [left(failures, NOW, 5 * DAY) for failures in (1, 2, 3, 4)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] > 10


def test_a_certificate_that_is_not_due_yet_has_all_attempts_left() -> None:
    """The count is of attempts, not of days."""
    assert left(0, None, 30 * DAY, due=29 * DAY) < left(0, None, 30 * DAY)
    assert left(0, None, 30 * DAY, due=31 * DAY) == 0


def test_a_failure_in_the_future_says_nothing() -> None:
    """The clock was ahead when it was written down."""
    assert left(3, NOW + 300 * DAY, DAY) > 0


def test_the_count_of_attempts_ends() -> None:
    """A root of thirty years does not take a minute to count."""
    assert left(0, None, 20_000 * DAY) == MOST
