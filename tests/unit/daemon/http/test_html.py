"""HTML that nobody else can write into, and moments in words."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.daemon.http.html import Markup, fill, joined
from certrotd.daemon.http.time_format import brief, day, exact, relative, shown, span, stamp
from tests.unit.daemon.http.stand import DAY, NOW


@given(st.text())
def test_a_part_never_becomes_markup(text: str) -> None:
    """Names and the words of a CA are other people's."""
    made = fill('<b title="{part}">{part}</b>', part=text)
    inside = made.removeprefix('<b title="').removesuffix("</b>")
    assert not set("<>'") & set(inside.replace('">', "", 1))
    assert inside.count('"') == 1


def test_markup_stays_markup() -> None:
    """The control: what this package has written is not escaped twice."""
    assert fill("<p>{a}{b}</p>", a=Markup("<i>"), b="<i>") == "<p><i>&lt;i&gt;</p>"
    assert joined([fill("{a}", a="&"), Markup("<br>")]) == "&amp;<br>"


def test_braces_in_a_part_are_text() -> None:
    """A template is filled once."""
    assert fill("{a}", a="{b} {0} {a.__class__}") == "{b} {0} {a.__class__}"


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
def test_a_span_is_told_in_its_largest_unit(seconds: float, words: str, short: str) -> None:
    """Rounded down: a certificate never has less time left than the page says."""
    assert (span(seconds), brief(seconds)) == (words, short)


def test_moments_are_told_from_now() -> None:
    """With the exact one for who needs it."""
    assert relative(0.5) == "now"
    assert relative(-7200) == "2 hours ago"
    assert shown(NOW + 3 * DAY, now=NOW) == (
        '<time datetime="2026-06-04T12:00:00+00:00" title="2026-06-04 12:00Z">in 3 days</time>'
    )
    assert shown(None, now=NOW) == "–"
    assert stamp(NOW + timedelta(seconds=59)) == "2026-06-01 12:00Z"
    assert ">2026-06-01 12:00Z<" in exact(NOW)
    assert ">2026-06-01<" in day(NOW)
