"""Tables for people, JSON for programs; nothing else is printed on standard output."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TextIO

from certrotd import wording
from certrotd.errors import printable
from certrotd.id import Id


@contextmanager
def keeping_all() -> Iterator[None]:
    """Memory is not searched for garbage meanwhile: a listing keeps what it makes until it ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # else all of it were searched at the next opportunity
        gc.enable()


def print_json(value: Any) -> None:
    """``value`` on standard output, with a newline: a list an entry a line, the rest indented."""
    if isinstance(value, list):
        # indenting is done in Python and costs more than all the rest of a long listing
        entries = ",\n ".join(_to_json(entry) for entry in value)
        sys.stdout.write(f"[{entries}]\n")
        return
    sys.stdout.write(f"{_to_json(value, indent=1)}\n")


def say(text: str, stream: TextIO | None = None) -> None:
    """One line, on standard error unless told otherwise."""
    print(printable(text), file=stream or sys.stderr)


def names_of(subjects: Sequence[Id]) -> list[str]:
    """What each is called in a listing: its name, and its kind where there are several."""
    several = len({each.kind for each in subjects}) > 1
    return [str(each) if several else each.name for each in subjects]


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    well: Callable[[Sequence[str]], bool] = lambda _row: False,
) -> None:
    """A table on standard output: fitted into a terminal, else plain columns.

    The last column is prose. On a terminal a row that is ``well`` is cut to one line.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from certrotd.cli.table import lay_out

        width = shutil.get_terminal_size().columns
        for number, line in enumerate(lay_out(columns, shown, width=width, well=well)):
            sys.stdout.write(f"{line}\n" if number else f"{_bold(line)}\n")
        return
    widths = [max(len(row[i]) for row in (columns, *shown)) for i in range(len(columns))]
    for row in (columns, *shown):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


def _bold(line: str) -> str:
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") in (None, "", "dumb")
    return line if plain else f"\x1b[1m{line}\x1b[0m"


def stamp(moment: datetime | None) -> str:
    """A moment to the minute in UTC, or a dash."""
    return wording.stamp(moment) if moment else "-"


def span(length: timedelta) -> str:
    """A length of time in its largest unit, rounded down: 89d, 5h, 12m, 30s; negative with a -."""
    seconds = int(abs(length.total_seconds()))
    sign = "-" if length < timedelta(0) else ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{sign}{seconds // size}{unit}"
    return f"{sign}{seconds}s"


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, default=_encode)


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
