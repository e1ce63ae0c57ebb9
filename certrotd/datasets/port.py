"""What a dataset is: rows of encrypted values that are counted, read in order and replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from certrotd.errors import NeedsOperator, Transient

if TYPE_CHECKING:
    from certrotd.datasets.census import Tally
    from certrotd.keyring.material import KeySet

Place = int | str | bytes | UUID | Decimal | datetime | date
"""The value of one key column."""
Key = tuple[Place, ...]
"""What tells one row from every other: the values of its key columns."""


class Busy(Transient):
    """Others hold what is to be written; the same batch may succeed in a moment."""


class Refused(NeedsOperator):
    """The place does not take one of the values, whoever writes it; the others it may take."""


class CutShort(Transient):
    """Not all of a dataset was seen: what was counted there is too little."""


class Row(NamedTuple):
    """One row as it was read.

    ``values`` has one for each encrypted field, None where there is none; ``read`` is what the
    dataset itself compares when the row is replaced. ``trouble`` is why nothing can be done to it.
    """

    key: Key
    values: tuple[bytes | None, ...]
    read: Any
    trouble: str = ""

    def __repr__(self) -> str:
        return f"<row {self.key}>"


class Change(NamedTuple):
    """A row, and what its fields are to be, also those that stay.

    ``by`` is how the dataset comes there, where the values alone do not tell.
    """

    row: Row
    values: tuple[bytes | None, ...]
    by: Any = None

    def __repr__(self) -> str:
        return f"<change of row {self.row.key}>"


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """Something about a dataset that matters to re-encryption; a ``fatal`` one forbids it."""

    code: str
    words: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class BeginningCounts:
    """How many values are not empty, and how many begin with each of what was asked for."""

    filled: int
    by_beginning: tuple[int, ...]


class Dataset(Protocol):
    """Rows of one place; every method raises Failure, Busy where trying again soon may help."""

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ...

    @property
    def fields(self) -> Sequence[str]:
        """The encrypted fields of every row, by name."""
        ...

    def counts(self, beginnings: Sequence[bytes]) -> BeginningCounts:
        """Of all values that are not empty, how many begin with each of ``beginnings``."""
        ...

    def remaining(self, done: Sequence[bytes]) -> int:
        """How many rows have a value that begins with none of ``done``."""
        ...

    def rows(self, after: Key | None, most: int, done: Sequence[bytes]) -> Sequence[Row]:
        """The next rows behind ``after`` in the order of their keys, at most so many.

        Without those all of whose values are empty or begin with one of ``done``.
        """
        ...

    def again(self, keys: Sequence[Key]) -> Sequence[Row]:
        """Those rows as they are now, without those that are gone."""
        ...

    def replace(self, changes: Sequence[Change]) -> int:
        """Write all in one transaction, each row only if it is as it was read; how many were.

        Raises Refused, and writes nothing, where the place does not take a value.
        """
        ...

    def findings(self) -> Sequence[PreflightFinding]:
        """What a look at the place shows before anything is written."""
        ...


@runtime_checkable
class Limited(Protocol):
    """A dataset whose fields take values of some length only."""

    def too_narrow(self, growth: Mapping[int, int]) -> Sequence[PreflightFinding]:
        """The fields that do not take their longest value once it has grown by so many bytes."""
        ...


@runtime_checkable
class Overlapping(Protocol):
    """A dataset of which another thread may read rows while a batch is written."""

    @property
    def reads_while_writing(self) -> bool:
        """Whether that is faster."""
        ...


@runtime_checkable
class Advising(Protocol):
    """A dataset that somebody has to look after while it is rewritten."""

    def advice(self) -> str | None:
        """What to do now, in words, None if nothing; raises Failure."""
        ...


@runtime_checkable
class Sweeping(Protocol):
    """A dataset in which a process that is killed may leave something."""

    def sweep(self) -> None:
        """Remove it, but not what others work on; raises Failure."""
        ...


@runtime_checkable
class SelfCounting(Protocol):
    """A dataset that tells by other means than its rows what is under which key."""

    @property
    def unit(self) -> str:
        """What its rows are, for people."""
        ...

    def tally(self, keys: KeySet) -> Tally:
        """The census; raises Failure."""
        ...
