"""Environment files: whatever else stands in them, only the own values change."""

from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from certrotd.outputs.env_file import EnvFile
from certrotd.outputs.errors import NotExpressible

FILE = Path("/srv/app/.env")
LINES = st.sampled_from(
    [
        "",
        "# KEY=comment",
        "A=1",
        "export B = 'two words' # why",
        'C="multi\nline"',
        "D='x\nKEY2=y\nz'",
        "just words",
        "export E",
        "F=a#b",
        "G=",
        "  H=\t1  ",
        "OTHER_KEY=1",
        "KEY_OTHER=2",
    ]
)
OWN = st.sampled_from(["KEY=old", "KEY='old' # c", 'export KEY = "old"', "KEY=", "  KEY=old"])


@given(
    before=st.lists(LINES, max_size=6),
    own=st.one_of(st.none(), OWN),
    after=st.lists(LINES, max_size=6),
    ending=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    value=st.text(alphabet="abcZ019+/=:,._-", min_size=1, max_size=80),
)
def test_python_dotenv_reads_the_new_value_and_everything_else_as_before(
    before: list[str], own: str | None, after: list[str], ending: str, last: bool, value: str
) -> None:
    """Whatever the lines around it are."""
    lines = [*before, *([] if own is None else [own]), *after]
    text = ending.join("\n".join(lines).split("\n")) + (ending if last and lines else "")
    file = EnvFile(FILE, text.encode(), ["KEY"])
    written = file.replaced({"KEY": value}).decode()
    old, new = (dict(dotenv_values(stream=StringIO(each, newline=""))) for each in (text, written))
    assert new.pop("KEY") == value
    old.pop("KEY", None)
    assert new == old
    assert EnvFile(FILE, written.encode(), ["KEY"]).value("KEY") == value
    again = EnvFile(FILE, written.encode(), ["KEY"]).replaced({"KEY": value}).decode()
    assert again == written


@given(text=st.text(alphabet="KEY='\"#\\ \n\r=ax:$", max_size=60))
def test_any_text_is_read_as_python_dotenv_reads_it_or_refused(text: str) -> None:
    """A value that is read otherwise by the application would be another key."""
    try:
        found = EnvFile(FILE, text.encode(), ["KEY"]).value("KEY")
    except NotExpressible:
        return
    read = dotenv_values(stream=StringIO(text, newline=""), interpolate=False).get("KEY")
    assert found == (read or "")


def test_an_empty_value_is_not_appended() -> None:
    """An application without a second key has no line for it."""
    file = EnvFile(FILE, b"A=1\n", ["KEY", "OLD"])
    assert file.replaced({"KEY": "x", "OLD": ""}) == b"A=1\nKEY=x\n"
    assert EnvFile(FILE, None, ["KEY"]).replaced({"KEY": ""}) == b""


def test_a_variable_within_the_text_of_another_is_refused() -> None:
    """Readers differ about what belongs to which."""
    with pytest.raises(NotExpressible, match="KEY is not set by one plain line of its own"):
        EnvFile(FILE, b"A='\nKEY=x\n'\n", ["KEY"])
