"""What the history says of the last attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certrotd.lifecycle.attempts import attempts_of
from certrotd.rotation.outcome import CANCELLED

BEGIN = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_what_somebody_cancelled_has_not_failed() -> None:
    """And what has failed says when it may be tried again."""
    line = {
        "failures": 2,
        "failure": "it refuses",
        "ended": BEGIN.isoformat(),
        "retry_after": 7,
        "facts": {"configuration": "one"},
    }
    found = attempts_of(line, "one")
    assert (found.failures, found.at, found.why) == (2, BEGIN, "it refuses")
    assert (found.retry_after, found.mended) == (timedelta(seconds=7), False)
    assert attempts_of(line, "two").mended
    assert not attempts_of({**line, "facts": {}}, "two").mended
    assert attempts_of({**line, "retry_after": None}, "one").retry_after is None
    assert attempts_of({**line, "failure": CANCELLED}, "one").failures == 0
    assert attempts_of({**line, "failures": 0}, "one").failures == 0
    assert attempts_of(None, "one").failures == 0
