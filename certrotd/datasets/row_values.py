"""What a look at the values of some rows gives, and what is to be written of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from certrotd.codecs.errors import CodecError
from certrotd.datasets.keys import key_words
from certrotd.datasets.port import Change, Key, Row


@dataclass(frozen=True)
class Quarantined:
    """A value that is left alone, and why; its content is in no message."""

    key: Key
    field: int
    why: str

    def words(self, fields: Sequence[str]) -> str:
        """Where it is, and why, for people; rows without fields are files."""
        row = key_words(self.key)
        return f"{fields[self.field]} of row {row}: {self.why}" if fields else f"{row}: {self.why}"


@dataclass(frozen=True)
class Batch:
    """What is to be written of some rows, and what is not touched.

    The active key has encrypted so many ``messages`` for it, of ``size`` bytes together.
    """

    changes: tuple[Change, ...]
    quarantined: tuple[Quarantined, ...]
    messages: int = 0
    size: int = 0


class Seen(NamedTuple):
    """What one value is: under ``version``, or (None) plaintext that is let be."""

    version: int | None
    plaintext: bytes = b""

    def __repr__(self) -> str:
        return f"<value under key version {self.version}>"


class SeenIndex(NamedTuple):
    """That one value is a blind index, under ``version``, or PREVIOUS."""

    version: int


class Unfit(CodecError):
    """A value that must not be re-encrypted, although it can be read."""


class RowValues(Protocol):
    """Looks at the values of rows with the keys of one keyring."""

    def reencrypted(self, rows: Sequence[Row]) -> Batch:
        """What the rows are to be: nothing of them that the active key wrote changes."""
        ...

    def looked_at(self, row: Row) -> Iterator[Seen | SeenIndex | Quarantined]:
        """What each value of a row is, empty ones apart."""
        ...
