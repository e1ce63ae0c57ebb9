"""Moments and spans in words."""

import pytest

from certrotd.daemon.http.time_format import brief, relative, span


@pytest.mark.parametrize(
    ("seconds", "words", "short"),
    [
        (0, "0 seconds", "0 s"),
        (1, "1 second", "1 s"),
        (119, "119 seconds", "119 s"),
        (120, "2 minutes", "2 min"),
        (7200, "2 hours", "2 h"),
        (172799, "47 hours", "47 h"),
        (172800, "2 days", "2 d"),
        (-864000, "10 days", "10 d"),
    ],
)
def test_a_span_is_shown_in_its_largest_unit(seconds: float, words: str, short: str) -> None:
    """Rounded down: a certificate never has less time left than the page says."""
    assert (span(seconds), brief(seconds)) == (words, short)


def test_moments_are_shown_relative_to_now() -> None:
    """With the exact one for who needs it."""
    assert relative(0.5) == "now"
    assert relative(-7200) == "2 hours ago"
