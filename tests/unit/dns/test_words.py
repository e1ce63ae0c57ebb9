"""Messages are read by people."""

import pytest

from certrotd.dns.words import seconds, shown


@pytest.mark.parametrize(
    ("duration", "said"),
    [(0.0999, "0.1 s"), (0.15, "0.15 s"), (2.9968, "3 s"), (4.5, "4.5 s"), (119.99, "120 s")],
)
def test_durations_are_rounded(duration: float, said: str) -> None:
    """What was configured is recognised in what is said, though some of it had passed."""
    assert seconds(duration) == said


def test_long_text_is_cut() -> None:
    """A megabyte of hostile name is not repeated."""
    assert shown("a'b") == repr("a'b")
    assert len(shown("a" * 1000)) == 82
