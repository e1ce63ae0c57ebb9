"""The daemon's log: one event, one line, for people or as JSON, with its priority for journald.

JSON lines carry ``time``, ``level``, ``event``, ``words`` and the fields of the event.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

import structlog

from certrotd.clock import Clock
from certrotd.config.logging import LogEntry
from certrotd.errors import one_line
from certrotd.rotation.unexpected import as_failure

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
Fields = MutableMapping[str, Any]


class LineLog:
    """The Log port over ``write``, which takes a line at a time and is called from any thread.

    With ``priorities`` each line begins with its own as ``<N>``, see sd-daemon(3).
    """

    def __init__(
        self, write: Callable[[str], None], clock: Clock, entry: LogEntry, *, priorities: bool
    ) -> None:
        self._sink = _Sink(write, priorities)
        self._clock = clock
        self.use(entry)

    def use(self, entry: LogEntry) -> None:
        """Write like this from now on."""
        render = [self._stamped, structlog.processors.JSONRenderer()]
        self._logger = structlog.wrap_logger(
            self._sink,
            processors=[_escaped, *(render if entry.format == "json" else [_console])],
            wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[entry.level]),
        )

    def __call__(self, level: str, event: str, words: str, /, **fields: object) -> None:
        """As Log."""
        self._logger.log(_LEVELS[level], event, words=words, **fields)

    def _stamped(self, _logger: object, level: str, fields: Fields) -> Fields:
        event, time = fields.pop("event"), self._clock.now().isoformat()
        return {"time": time, "level": level, "event": event, **fields}


@contextlib.contextmanager
def libraries(log: LineLog) -> Iterator[None]:
    """Within the block, what libraries and Python itself say goes to ``log``.

    That is what comes through ``logging`` and ``warnings``, and what Python writes of errors that
    nobody can be told of: at the end of a thread, and in destructors.
    """
    handler, root = _FromLibraries(log), logging.getLogger()
    hooks = warnings.showwarning, threading.excepthook, sys.unraisablehook
    heard = _Heard(log)
    warnings.showwarning = heard.warning
    threading.excepthook, sys.unraisablehook = heard.thread, heard.unraisable
    # that a tick was left out because the one before took long is no news: the next one comes
    ticks = logging.getLogger("apscheduler.scheduler")
    level = ticks.level
    ticks.setLevel(logging.ERROR)
    root.addHandler(handler)
    try:
        yield
    finally:
        warnings.showwarning, threading.excepthook, sys.unraisablehook = hooks
        root.removeHandler(handler)
        ticks.setLevel(level)


class _Heard:
    """What Python itself would write to standard error."""

    def __init__(self, log: LineLog) -> None:
        self._log = log

    def warning(
        self, message: Warning | str, category: type[Warning], *_where: object, **_how: object
    ) -> None:
        """As warnings.showwarning."""
        self._log("warning", "library.warned", f"{category.__name__}: {message}")

    def thread(self, ended: threading.ExceptHookArgs) -> None:
        """As threading.excepthook."""
        name = ended.thread.name if ended.thread else "?"
        self._failed(ended.exc_value, f"go on with thread {name}")

    def unraisable(self, ignored: sys.UnraisableHookArgs) -> None:
        """As sys.unraisablehook."""
        self._failed(ignored.exc_value, ignored.err_msg or "clean up")

    def _failed(self, error: BaseException | None, doing: str) -> None:
        if isinstance(error, Exception):
            self._log("error", "library.failed", str(as_failure(error, doing)))


class _FromLibraries(logging.Handler):
    def __init__(self, log: LineLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit
            said = str(record.msg)
        words = f"{record.name}: {said}"
        if record.exc_info and isinstance(record.exc_info[1], Exception):
            words += f": {as_failure(record.exc_info[1], words)}"
        self._log(level, "library.warned", words)


class _Sink:
    """What structlog hands finished lines to, by a method of the level's name."""

    def __init__(self, write: Callable[[str], None], priorities: bool) -> None:
        for level, priority in _PRIORITIES.items():
            prefix = f"<{priority}>" if priorities else ""
            setattr(self, level, partial(_prefixed, write, prefix))


def _prefixed(write: Callable[[str], None], prefix: str, line: str) -> None:
    write(f"{prefix}{line}")


def _escaped(_logger: object, _level: str, fields: Fields) -> Fields:
    """No event is more than one line, whatever a server made of a message."""
    return {k: one_line(v) if isinstance(v, str) else v for k, v in fields.items()}


def _console(_logger: object, _level: str, fields: Fields) -> str:
    rotation = f" [{fields['rotation']}]" if "rotation" in fields else ""
    return f"certrotd: {fields['words']}{rotation}"


def to_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether what is written to ``descriptor`` goes to journald, see systemd.exec(5)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
