"""What is shown while rotations are under way."""

import os
import pty
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from certrotd.cli.live import MANY, SPEAK_EVERY, Lines, Steps, progress_of
from certrotd.rotation.outcome import Event

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_END = "<this was all>"


def event(what: str, index: int = 0, *, item: str = "swap", detail: str = "") -> Event:
    """Something that happens to the certificate web."""
    return Event("20270304T050600-0011aabb", "certificate/web", what, index, 3, item, detail)


def test_lines_tell_what_happened_and_not_what_is_about_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A log of a timer's run: a line for a fact, none for an intention."""
    lines = Lines(1)
    for what in ("began", "trying", "done", "undoing", "closed"):
        lines.hear(event(what))
    lines.hear(event("failed", detail="disk full"))
    assert capsys.readouterr().err.splitlines() == ["web: swap done", "web: swap failed: disk full"]


def test_a_long_step_says_now_and_then_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each of its checkpoints."""
    seconds = iter([0.0, 1.0, SPEAK_EVERY, SPEAK_EVERY + 1])
    monkeypatch.setattr("certrotd.cli.live.time.monotonic", lambda: next(seconds))
    lines = Lines(1)
    for number in range(3):
        lines.hear(event("progress", item="re-encrypt", detail=f"{number} of 3"))
    assert capsys.readouterr().err == "web: re-encrypt: 1 of 3\n"


def test_a_run_over_many_certificates_prints_only_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten thousand lines of good news hide the one that matters."""
    for count, told in ((MANY, 3), (MANY + 1, 2)):
        lines = Lines(count)
        for what in ("done", "failed", "stuck"):
            lines.hear(event(what))
        assert len(capsys.readouterr().err.splitlines()) == told


def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs have no use for a moving bar."""
    with open(os.devnull, "w") as nothing:
        monkeypatch.setattr(sys, "stderr", nothing)
        with progress_of(1) as shown:
            assert isinstance(shown, Lines)


def test_a_terminal_shows_a_bar_that_ends_with_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person at a shell sees that it goes on, and that it has ended well."""
    with terminal(monkeypatch) as screen:
        with progress_of(1) as shown:
            assert isinstance(shown, Steps)
            shown.hear(event("began", -1, item="", detail="its time has come"))
            for index, item in enumerate(("preflight", "swap", "prune")):
                shown.hear(event("trying", index, item=item))
                shown.hear(event("done", index, item=item))
        last = screen().splitlines()[-2]
    assert re.search(r"^web .* done ", last.rpartition("\r")[2].replace("\x1b[2K", ""))


def test_a_terminal_keeps_failures_as_they_were_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar moves on; what failed stays to be read, brackets and all."""
    with terminal(monkeypatch) as screen:
        with progress_of(1) as shown:
            shown.hear(event("failed", 1, detail="[red]refused[/]"))
            shown.hear(event("undone", 1))
        seen = screen()
    assert "web: swap failed: [red]refused[/]" in seen


def test_many_certificates_get_lines_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bars than rows would only flicker."""
    with terminal(monkeypatch), progress_of(MANY + 1) as shown:
        assert isinstance(shown, Lines)


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator["Screen"]:
    """Standard error is a terminal, of which everything is kept."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield Screen(ours)
        stream.flush()
    os.close(ours)


class Screen:
    """What has been written to a terminal, without its colours."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __call__(self) -> str:
        # the kernel hands over what was written to a terminal when it comes to it
        sys.stderr.write(_END)
        sys.stderr.flush()
        seen = b""
        while not seen.endswith(_END.encode()):
            seen += os.read(self._handle, 65536)
        return _COLOUR.sub("", seen.decode().removesuffix(_END))
