"""What people are told when something fails."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import (
    ConfigInvalid,
    ConfigProblem,
    Failure,
    InvalidInput,
    LockHeld,
    NeedsOperator,
    ProofFailed,
    Transient,
    one_line,
)

HOSTILE = "a\nb\r\nc\x1b[31md\0e\u202ef\u2028g"


@given(st.text(max_size=3000))
def test_any_text_becomes_one_printable_line_of_bounded_length(text: str) -> None:
    """Names, answers and problem documents of strangers end up in logs and terminals."""
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown) <= 2000


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=2000))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    """The control of the test above: umlauts and Cyrillic are no attack."""
    assert one_line(text) == text


def test_control_characters_are_shown_as_escapes() -> None:
    """Also the direction marks that make a name look like another."""
    assert one_line(HOSTILE) == "a b c\\x1b[31md\\x00e\\u202ef g"


def test_a_long_text_is_cut_and_says_so() -> None:
    """The edge on both sides."""
    assert one_line("x" * 2000) == "x" * 2000
    assert one_line("x" * 2001) == "x" * 1999 + "…"


@pytest.mark.parametrize("kind", [Failure, Transient, NeedsOperator, InvalidInput, ProofFailed])
def test_a_failure_is_its_message_and_what_to_do(kind: type[Failure]) -> None:
    """Every failure is shown the same way, and caught as one kind."""
    failure = kind("it broke\n", hint="mend\x07 it")
    assert (failure.message, failure.hint) == ("it broke", "mend\\x07 it")
    assert str(failure) == "it broke (mend\\x07 it)"
    assert failure.args == ("it broke",)
    assert isinstance(failure, Failure)


def test_without_a_hint_nothing_is_in_brackets() -> None:
    """The control of the test above."""
    assert str(Failure("it broke")) == "it broke"


def test_a_transient_failure_keeps_the_time_it_was_given() -> None:
    """A CA's Retry-After is obeyed."""
    assert Transient("busy", retry_after=timedelta(hours=1)).retry_after == timedelta(hours=1)
    assert Transient("busy").retry_after is None


def test_a_held_lock_says_who_holds_it() -> None:
    """The holder's note is read from a file, and so escaped."""
    held = LockHeld("certificate web", holder="process 7 (certrotd\nrotate)")
    assert held.message == "certificate web is in use by process 7 (certrotd rotate)"
    assert held.holder == "process 7 (certrotd\nrotate)"


@pytest.mark.parametrize(
    ("line", "path", "shown"),
    [
        (3, "certificates[0].names", "c.yaml:3: certificates[0].names: is empty"),
        (3, "", "c.yaml:3: is empty"),
        (0, "", "c.yaml: is empty"),
    ],
)
def test_a_problem_says_where_it_is(line: int, path: str, shown: str) -> None:
    """file:line is what editors jump to."""
    assert str(ConfigProblem(Path("c.yaml"), line, path, "is empty")) == shown


def test_every_problem_of_a_configuration_is_reported() -> None:
    """One at a time would take as many attempts as there are typing errors."""
    problems = [ConfigProblem(Path("c.yaml"), at, "", f"problem {at}\n") for at in (1, 2)]
    failure = ConfigInvalid(problems)
    assert failure.problems == tuple(problems)
    assert str(failure) == "c.yaml:1: problem 1; c.yaml:2: problem 2"
