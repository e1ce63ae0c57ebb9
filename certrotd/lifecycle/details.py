"""What the page of one subject shows besides what all have: facts and tables, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certrotd.value import value


@value
class Consumer:
    """Who uses a subject: a target, copies, an application.

    ``words`` say what it has; ``current`` that this is what is in use. ``unproven``: nobody can
    tell what it has, which is as it was asked for.
    """

    name: str
    words: str
    current: bool
    unproven: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A text or a moment, with a ``note`` below it.

    ``code`` is shown letter by letter, ``cut`` after so many of them; a ``chip`` as a state.
    """

    text: str = ""
    moment: datetime | None = None
    note: str = ""
    code: bool = False
    cut: int | None = None
    chip: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A section of the page; ``empty`` stands in for no rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str


@dataclass(frozen=True, slots=True)
class Details:
    """Facts with their labels, and tables."""

    facts: Sequence[tuple[str, Cell]] = ()
    tables: Sequence[Table] = ()
