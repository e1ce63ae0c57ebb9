"""Lines for people, for machines, and for journald."""

import json
import logging
import os
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from certrotd.clock import ManualClock
from certrotd.config.logging import LogEntry
from certrotd.reporting.log import LineLog, libraries, to_journal

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Level = Literal["debug", "info", "warning", "error"]


def lines_of(entry: LogEntry, *, priorities: bool = False) -> list[str]:
    """What is written of one event of each level."""
    lines: list[str] = []
    log = LineLog(lines.append, ManualClock(NOW), entry, priorities=priorities)
    log("debug", "step.trying", "web: order trying", certificate="web", rotation="r1")
    log("info", "daemon.started", "started")
    log("warning", "clock.jumped", "the clock jumped", seconds=5)
    log("error", "rotation.failed", "web: failed: a\nb", certificate="web")
    return lines


def test_lines_for_people_have_the_words_and_the_rotation() -> None:
    """What is read at night has no braces; what belongs together has the same id."""
    assert lines_of(LogEntry(level="debug")) == [
        "certrotd: web: order trying [r1]",
        "certrotd: started",
        "certrotd: the clock jumped",
        "certrotd: web: failed: a b",
    ]


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_events_below_the_level_are_not_logged(level: Level, count: int) -> None:
    """A log is turned down by one word."""
    assert len(lines_of(LogEntry(level=level))) == count


def test_json_lines_carry_everything_by_name() -> None:
    """Whoever collects logs looks fields up, and never parses a sentence."""
    first, _, third, last = map(json.loads, lines_of(LogEntry(format="json", level="debug")))
    assert first == {
        "time": NOW.isoformat(),
        "level": "debug",
        "event": "step.trying",
        "words": "web: order trying",
        "certificate": "web",
        "rotation": "r1",
    }
    assert third["seconds"] == 5
    assert last["level"] == "error"


@pytest.mark.parametrize("form", ["console", "json"])
def test_journald_is_given_each_priority_in_front(form: Literal["console", "json"]) -> None:
    """`journalctl -p err` must show the failures and nothing else."""
    found = lines_of(LogEntry(format=form, level="debug"), priorities=True)
    assert [line[:3] for line in found] == ["<7>", "<6>", "<4>", "<3>"]


def test_the_form_can_be_changed_while_running() -> None:
    """Debugging a daemon begins with a reload, not with a restart."""
    lines: list[str] = []
    log = LineLog(lines.append, ManualClock(NOW), LogEntry(), priorities=False)
    log("debug", "a.b", "before")
    log.use(LogEntry(level="debug"))
    log("debug", "a.b", "after")
    assert lines == ["certrotd: after"]


def test_warnings_of_libraries_are_logged_and_their_chatter_is_not() -> None:
    """A line in another form, on a stream of its own, is a line nobody collects."""
    lines: list[str] = []
    log = LineLog(lines.append, ManualClock(NOW), LogEntry(), priorities=True)
    library, ticks = logging.getLogger("some.library"), logging.getLogger("apscheduler.scheduler")
    with libraries(log):
        library.info("chatter")
        library.warning("the pool is %s", "full")
        ticks.warning("skipped")
        try:
            raise OSError(5, "Input/output error")
        except OSError:
            library.exception("it broke")
    library.warning("after")
    assert lines[0] == "<4>certrotd: some.library: the pool is full"
    assert lines[1].startswith("<3>certrotd: some.library: it broke: ")
    assert "Input/output error" in lines[1]
    assert len(lines) == 2


def test_warnings_and_errors_that_nobody_hears_are_lines_of_the_log() -> None:
    """Between lines of JSON, a raw one breaks whatever reads them."""
    lines: list[str] = []
    log = LineLog(lines.append, ManualClock(NOW), LogEntry(format="json"), priorities=False)
    before = warnings.showwarning, threading.excepthook, sys.unraisablehook
    with warnings.catch_warnings(), libraries(log):
        warnings.simplefilter("always")
        warnings.warn("old\n\x1b[1m", DeprecationWarning, stacklevel=1)
        thread = threading.Thread(target=lambda: [][1], name="odd")
        thread.start()
        thread.join()
        dying = Dying()
        del dying
    told = [json.loads(line) for line in lines]
    assert [(each["level"], each["event"]) for each in told] == [
        ("warning", "library.warned"),
        ("error", "library.failed"),
        ("error", "library.failed"),
    ]
    assert told[0]["words"] == "DeprecationWarning: old \\x1b[1m"
    assert "IndexError" in told[1]["words"]
    assert "it died" in told[2]["words"]
    assert (warnings.showwarning, threading.excepthook, sys.unraisablehook) == before


class Dying:
    """What fails when it is cleaned up."""

    def __del__(self) -> None:
        raise ValueError("it died")


def test_only_a_stream_that_goes_to_journald_has_priorities(tmp_path: Path) -> None:
    """A file that standard error was sent to shows no <3>."""
    with (tmp_path / "log").open("w") as file:
        found = os.fstat(file.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert to_journal(file.fileno(), {"JOURNAL_STREAM": stream})
        assert not to_journal(file.fileno(), {"JOURNAL_STREAM": "1:2"})
        assert not to_journal(file.fileno(), {})
    assert not to_journal(-1, {"JOURNAL_STREAM": stream})
