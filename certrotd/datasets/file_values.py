"""What rows are whose values are the beginnings of files, and how such a file is written anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

from certrotd.codecs.errors import CodecError
from certrotd.datasets.port import Change, Row
from certrotd.datasets.row_values import Batch, Quarantined, Seen
from certrotd.datasets.values import Form
from certrotd.keyring.material import KeySet

F = TypeVar("F", bound=Form)


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


class FileValues(ABC, Generic[F]):
    """RowValues, of files, each told by what it begins with; ``form`` is how they are encrypted."""

    def __init__(self, form: F, keys: KeySet) -> None:
        self.form = form
        self.keys = keys

    def reencrypted(self, rows: Sequence[Row]) -> Batch:
        """As RowValues.reencrypted; content is looked at when it is written."""
        return batch_of(rows, self._change)

    def looked_at(self, row: Row) -> Iterator[Seen | Quarantined]:
        """As RowValues.looked_at."""
        if row.trouble:
            yield Quarantined(row.key, 0, row.trouble)
            return
        try:
            yield self._seen(row)
        except CodecError as error:
            yield Quarantined(row.key, 0, error.message)

    @abstractmethod
    def _change(self, row: Row) -> Change | None:
        """What the file is to be, None if it is that; raises CodecError."""

    @abstractmethod
    def _seen(self, row: Row) -> Seen:
        """The key version that it counts for, or plaintext; raises CodecError."""


def beginning_of(row: Row) -> bytes:
    """What the file begins with."""
    [data] = row.values
    assert data is not None, "empty files are no rows"
    return data
