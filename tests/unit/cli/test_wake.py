"""``certrotd wake``: who knows that what a rotation waits for has come tells the daemon."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certrotd.state.directory import DAEMON_LOCK, StateDirectory
from tests.unit.cli.conftest import Certrotd, fly, listed

NOW = datetime(2027, 1, 1, tzinfo=UTC)
WAITS = "obtain: no answer (in flight since 2026-06-01 12:00Z, failed 2 times)"
NONE = "no rotation is in flight; the daemon looks all the same"
ALONE = "no daemon runs on this state directory: "


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """One in which a rotation of web waits, and none of mail."""
    path = tmp_path / "state"
    (path / "journal").mkdir(parents=True)
    fly(path, "web")
    return StateDirectory(path, command="certrotd run", now=lambda: NOW)


def test_each_name_has_a_line_and_is_woken(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name, id or DNS name; one that waits for nothing is looked at as well."""
    with state.lock(DAEMON_LOCK, "the state directory"):
        assert certrotd("wake", "certificate/web", "mail.example.test") == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "NAME  WOKEN  WHY",
        f"web   yes    {WAITS}",
        f"mail  no     {NONE}",
    ]
    assert said.err == ""
    assert state.changes("certificate").woken() == {"certificate/web", "certificate/mail"}


def test_programs_learn_whether_a_rotation_was_woken(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the id in two parts, as in every listing."""
    assert certrotd("wake", "mail", "web", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"kind": "certificate", "name": "mail", "woken": False, "why": NONE},
        {"kind": "certificate", "name": "web", "woken": True, "why": WAITS},
    ]


def test_a_certificate_that_is_being_rotated_is_woken(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon holds its lock, and has asked for the last time a moment ago."""
    with state.lock("certificate/web", "certificate web"):
        assert certrotd("wake", "web", "--json") == 0
    assert listed(capsys)["web"]["woken"]
    assert state.changes("certificate").woken() == {"certificate/web"}


@pytest.mark.parametrize(
    ("names", "then"),
    [
        (["web", "mail"], "certrotd rotate certificate/web continues it"),
        (["mail"], "the next one looks when it starts"),
    ],
)
def test_whoever_wakes_without_a_daemon_learns_what_to_do(
    certrotd: Certrotd,
    state: StateDirectory,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    then: str,
) -> None:
    """Else he waits for what nobody does; the next daemon looks all the same."""
    assert certrotd("wake", *names) == 0
    assert capsys.readouterr().err == f"{ALONE}{then}\n"
    assert state.changes("certificate").woken() == {f"certificate/{name}" for name in names}


def test_several_rotations_are_continued_by_one_command(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a daemon."""
    fly(state.path, "mail")
    assert certrotd("wake", "web", "mail") == 0
    then = "certrotd rotate certificate/web certificate/mail continues them"
    assert capsys.readouterr().err == f"{ALONE}{then}\n"


@pytest.mark.parametrize("names", [["web", "mial"], []])
def test_an_unknown_name_wakes_nothing(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    """Nor does no name at all: that is not all of them."""
    assert certrotd("wake", *names) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert ("did you mean" if names else "Missing argument 'NAME") in said.err
    assert state.changes("certificate").woken() == frozenset()


def test_a_request_that_cannot_be_left_is_a_failure(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody believes then that the daemon knows."""
    (state.path / "wake").write_text("")
    assert certrotd("wake", "web") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("certrotd: cannot create directory")


def test_a_journal_that_cannot_be_read_is_a_failure(
    certrotd: Certrotd, state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is left behind then; a damaged one is no hindrance."""
    journal = state.path / "journal/certificate/web.jsonl"
    journal.write_bytes(b"nonsense\nand more\n")
    assert certrotd("wake", "web", "--json") == 0
    assert listed(capsys)["web"]["woken"]
    journal.unlink()
    os.symlink("/dev/null", journal)
    assert certrotd("wake", "mail", "web") == 1
    assert "cannot read" in capsys.readouterr().err
    assert state.changes("certificate").woken() == {"certificate/web"}
