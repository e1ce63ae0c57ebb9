"""What rows are whose values are the beginnings of files, and how such a file is written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from certrotd.codecs.errors import CodecError
from certrotd.datasets.port import Change, Row
from certrotd.datasets.values import Batch, Quarantined, Seen


@runtime_checkable
class Refill(Protocol):
    """How a file gets another content: Change.by of one that is replaced."""

    def fill(self, old: int, new: int) -> None:
        """Write all of it into ``new``, a handle as ``old``, which has what there is now.

        Raises CodecError, and OSError, after a part was written.
        """
        ...


def batch_of(rows: Sequence[Row], change: Callable[[Row], Change | None]) -> Batch:
    """As RowValues.reencrypted, by what ``change`` says of each row."""
    changes: list[Change] = []
    quarantined: list[Quarantined] = []
    for row in rows:
        if row.trouble:
            quarantined.append(Quarantined(row.key, 0, row.trouble))
            continue
        try:
            found = change(row)
        except CodecError as error:
            quarantined.append(Quarantined(row.key, 0, error.message))
            continue
        if found is not None:
            changes.append(found)
    return Batch(tuple(changes), tuple(quarantined), messages=len(changes))


def seen_of(row: Row, see: Callable[[Row], Seen]) -> Iterator[Seen | Quarantined]:
    """As RowValues.looked_at, by what ``see`` says of the row."""
    if row.trouble:
        yield Quarantined(row.key, 0, row.trouble)
        return
    try:
        yield see(row)
    except CodecError as error:
        yield Quarantined(row.key, 0, error.message)


def beginning_of(row: Row) -> bytes:
    """What the file begins with."""
    [data] = row.values
    assert data is not None, "empty files are no rows"
    return data
