"""The warnings of libraries, in one line each on standard error, like everything else there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from certrotd.cli.output import say
from certrotd.errors import one_line


@contextmanager
def warnings_in_lines() -> Iterator[None]:
    """What comes through ``warnings`` within the block; the daemon has a log for them."""
    before, warnings.showwarning = warnings.showwarning, _show
    try:
        yield
    finally:
        warnings.showwarning = before


@contextmanager
def logging_in_lines() -> Iterator[None]:
    """What comes through ``logging`` within the block, for commands that load it anyway."""
    import logging

    class Line(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"certrotd: warning: {one_line(message_of(record))}")

    root, line = logging.getLogger(), Line(logging.WARNING)
    root.addHandler(line)
    try:
        yield
    finally:
        root.removeHandler(line)


def message_of(record: Any) -> str:
    """What a record of ``logging`` says, whatever its author made of it, and why it was made."""
    try:
        said = record.getMessage()
    except (TypeError, ValueError):  # its arguments do not fit
        said = str(record.msg)
    why = f": {record.exc_info[1]}" if record.exc_info and record.exc_info[1] else ""
    return f"{record.name}: {said}{why}"


def _show(message: Any, category: type[Warning], *_where: object, **_how: object) -> None:
    say(f"certrotd: warning: {one_line(str(message))} ({category.__name__})")
