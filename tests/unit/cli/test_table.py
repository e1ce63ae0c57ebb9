"""Tables on terminals of any width."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.cli.table import lay_out

COLUMNS = ("NAME", "STATE", "EXPIRES", "LEFT", "NEXT", "GEN", "TARGETS", "NAMES", "WHY")
WEB = (
    "web",
    "ok",
    "2027-02-27 00:26Z",
    "89d",
    "2027-01-25 06:46Z",
    "1",
    "nginx: ok",
    "www.example.test +3",
    "renewal at two thirds of its lifetime",
)
MAIL = (
    "mail-of-the-branch",
    "postponed",
    "2026-12-24 00:26Z",
    "25d",
    "2026-12-01 06:46Z",
    "12",
    "nginx: ok, postfix: generation 11",
    "mail.example.test",
    "failed 3 times in a row, the last at 2026-11-30 06:46Z: the CA ca.example.test did not answer",
)
DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\dZ")


def shown(width: int, *rows: Sequence[str]) -> list[str]:
    """The lines below the heading."""
    return list(lay_out(COLUMNS, rows, width=width, well=lambda row: row[1] == "ok"))[1:]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_dates_and_names_are_never_broken(width: int) -> None:
    """Half a date is read as another one, and half a name cannot be copied."""
    lines = shown(width, WEB, MAIL)
    whole = "\n".join(lines)
    for row in (WEB, MAIL):
        assert any(line.startswith(row[0]) for line in lines)
        for date in DATE.findall(" ".join(row[:4])):
            assert width < 60 or date in whole
    assert len(DATE.findall(whole)) >= (5 if width >= 80 else 3)
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize("width", [60, 80])
def test_a_certificate_that_is_well_takes_a_line(width: int) -> None:
    """Twenty of them are twenty lines."""
    [line] = shown(width, WEB)
    assert line.split()[:2] == ["web", "ok"]
    assert "two thirds" not in line


@pytest.mark.parametrize("width", [60, 80, 300])
def test_why_is_reported_where_something_is_not_ok_and_only_there(width: int) -> None:
    """It is what one looks for."""
    text = " ".join(" ".join(shown(width, WEB, MAIL)).split())
    assert "the CA ca.example.test did not answer" in text
    assert "postfix: generation 11" in text
    assert "two thirds" not in text


def test_prose_goes_on_below_itself() -> None:
    """On a wide terminal there is room beside the columns."""
    rows = [("web", "one two three " * 8), ("mail", "")]
    lines = list(lay_out(("NAME", "WHY"), rows, width=60, well=lambda _row: False))
    assert lines[0] == "NAME  WHY"
    assert lines[1].startswith("web   one two")
    assert lines[2].startswith("      ")
    assert lines[-1] == "mail"


def test_without_prose_there_is_no_column_for_it() -> None:
    """Nothing is announced that does not come."""
    [heading] = lay_out(COLUMNS, [], width=300, well=lambda _row: True)
    assert heading.split() == list(COLUMNS[:-1])


@given(
    st.lists(st.tuples(*[st.text("ab -:1", max_size=30) for _ in COLUMNS]), max_size=4),
    st.integers(1, 200),
)
def test_a_narrow_table_keeps_every_word_of_a_problem(
    rows: list[tuple[str, ...]], width: int
) -> None:
    """Whatever the width: every word of every cell is somewhere."""
    lines = list(lay_out(COLUMNS, rows, width=width, well=lambda _row: False))
    text = " ".join(" ".join(lines).split())
    for row in rows:
        for cell in row:
            assert cell == "-" or all(word in text for word in cell.split())
