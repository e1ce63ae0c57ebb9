"""What people and programs are shown."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.cli.output import print_json, print_table, say, span, stamp


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (1, "1s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172799, "47h"),
        (172800, "2d"),
        (90 * 86400 - 1, "89d"),
        (-30, "-30s"),
        (-172800, "-2d"),
    ],
)
def test_a_span_is_rounded_down_in_its_largest_unit(seconds: int, said: str) -> None:
    """Nobody is told of a day that is not there any more."""
    assert span(timedelta(seconds=seconds)) == said


@given(st.integers(0, 4_000_000_000))
def test_a_span_never_promises_more_than_there_is(seconds: int) -> None:
    """Whatever the length: at most half of it is lost to rounding, nothing is added."""
    said = span(timedelta(seconds=seconds))
    size = {"d": 86400, "h": 3600, "m": 60, "s": 1}[said[-1]]
    shown = int(said[:-1]) * size
    assert shown <= seconds < shown + size
    assert size == 1 or shown >= 2 * size


def test_a_moment_is_shown_to_the_minute_in_utc() -> None:
    """Tables of two hosts can be compared."""
    assert stamp(datetime(2027, 3, 4, 5, 6, 59, 999999, tzinfo=UTC)) == "2027-03-04 05:06Z"
    assert stamp(None) == "-"


def test_json_is_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A list has an entry a line, so that grep and head work on it; moments are ISO 8601."""
    moment = datetime(2027, 3, 4, tzinfo=UTC)
    print_json([{"name": "a", "at": moment}, {"name": "ü\n", "at": None}])
    printed = capsys.readouterr().out
    first, second = json.loads(printed)
    assert first == {"name": "a", "at": moment.isoformat()}
    assert second == {"name": "ü\n", "at": None}
    assert len(printed.splitlines()) == 2
    print_json([])
    assert json.loads(capsys.readouterr().out) == []
    print_json({"one": {"two": 2}})
    assert json.loads(capsys.readouterr().out) == {"one": {"two": 2}}


def test_a_value_that_is_no_json_is_a_defect_and_not_a_string(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A secret or an adapter must not end up in a listing by its repr."""
    with pytest.raises(TypeError, match="object is not JSON"):
        print_json([{"secret": object()}])
    assert capsys.readouterr().out == ""


def test_a_table_for_programs_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """awk finds the same column in every line, and no line ends with blanks."""
    print_table(("NAME", "WHY"), [("web", "a reason"), ("a-longer-name", "")])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading == "NAME           WHY"
    assert first == "web            a reason"
    assert second == "a-longer-name"
    print_table(("NAME",), [])
    assert capsys.readouterr().out == "NAME\n"


def test_a_table_on_a_terminal_shows_markup_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CA says may have brackets in it; it is shown, never interpreted."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    print_table(("NAME", "WHY"), [("web", "[bold red]refused[/] :warning:")])
    shown = terminal.getvalue()
    assert "[bold red]refused[/] :warning:" in shown
    assert "NAME" in shown


def test_messages_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for the result alone."""
    say("working")
    assert capsys.readouterr() == ("", "working\n")
