"""Tables on a terminal: as many columns as fit beside each other, the rest beneath its row.

No date and no name is ever broken; only the last column, which is prose, goes on in a next line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence

TableRow = Sequence[str]
GAP = 2
LEAST_PROSE = 30
"""Narrower than that, prose is easier to read beneath its row."""
_NOTHING = ("", "-")
_DATE_AND_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d)")


def lay_out(
    columns: TableRow, rows: Sequence[TableRow], *, width: int, well: Callable[[TableRow], bool]
) -> Iterator[str]:
    """The lines of a table, the heading first; of a row where all is ``well``, what fits alone."""
    last = len(columns) - 1
    sizes = [max(len(row[i]) for row in (columns, *rows)) for i in range(last)]
    beside = _fitting(sizes, width)
    used = sum(sizes[i] + GAP for i in beside)
    prose = any(row[last] not in _NOTHING and not well(row) for row in rows)
    room = width - used if prose and width - used >= LEAST_PROSE else 0
    yield _joined([(columns[i], sizes[i]) for i in beside], columns[last] if room else "")
    for row in rows:
        first, *more = [""] if well(row) or not room else _wrapped(row[last], room) or [""]
        yield _joined([(row[i], sizes[i]) for i in beside], first)
        yield from (f"{'':{used}}{line}" for line in more)
        if not well(row):
            beneath = [i for i in range(last + (not room)) if i not in beside]
            for i in beneath:
                if row[i] not in _NOTHING:
                    yield from _beneath(columns[i], row[i], width)


def _fitting(sizes: Sequence[int], width: int) -> list[int]:
    """The columns that fit beside each other; the first always does."""
    beside: list[int] = []
    used = 0
    for i, size in enumerate(sizes):
        if not beside or used + size <= width:
            beside.append(i)
            used += size + GAP
    return beside


def _joined(cells: Sequence[tuple[str, int]], prose: str) -> str:
    return ("".join(f"{text:{size + GAP}}" for text, size in cells) + prose).rstrip()


def _beneath(title: str, text: str, width: int) -> Iterator[str]:
    for number, line in enumerate(_wrapped(f"{title.lower()}: {text}", width - 2 * GAP)):
        yield f"{'':{2 * GAP if number else GAP}}{line}"


def _wrapped(text: str, width: int) -> list[str]:
    """Broken between words alone, of which a date with its time is one."""
    kept = _DATE_AND_TIME.sub("\\1\u00a0\\2", text)
    lines = textwrap.wrap(kept, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]
