"""Arrays as PostgreSQL takes them in binary (array_send), without a call for each element.

psycopg's own dumper of lists asks an object for each element: for a batch of rows that costs more
than all the rest of writing it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from psycopg import Connection

_NULL = struct.pack("!i", -1)
_LENGTH = struct.Struct("!i")


class Blobs(list[bytes | None]):
    """For an array of bytea."""


class Texts(list[str | None]):
    """For an array of text."""


class Integers(list[int]):
    """For an array of bigint."""


def array_of(type_: Any, values: Sequence[Any]) -> list[Any] | None:
    """The values of a column for the quick dumper of its type, None if there is none."""
    if isinstance(type_, sa.LargeBinary):
        return Blobs(values)
    if isinstance(type_, sa.Integer):
        return Integers(values)
    if isinstance(type_, sa.Text) and all(v is None or isinstance(v, str) for v in values):
        return Texts(values)
    return None


def register(connection: Connection[Any]) -> None:
    """Have a connection take them."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)


def encoded(oid: int, elements: Sequence[bytes | None]) -> bytes:
    """An array of one dimension whose elements are of the type ``oid``; None is NULL."""
    pack = _LENGTH.pack
    parts = [_NULL if each is None else pack(len(each)) + each for each in elements]
    return _head(oid, len(elements), nulls=None in elements) + b"".join(parts)


def encoded_integers(oid: int, elements: Sequence[int]) -> bytes:
    """As encoded(), of integers of eight bytes."""
    told = chain.from_iterable(zip(repeat(8), elements))
    parts = struct.pack("!" + "iq" * len(elements), *told)
    return _head(oid, len(elements)) + parts


def _head(oid: int, count: int, *, nulls: bool = False) -> bytes:
    """Dimensions, whether there are NULLs, the type; the length and the first index of each."""
    dimensions = [count, 1] if count else []
    return struct.pack("!iii", len(dimensions) // 2, nulls, oid) + b"".join(
        map(_LENGTH.pack, dimensions)
    )


class _BlobsDumper(Dumper):
    format = Format.BINARY
    oid = 1001

    def dump(self, obj: Blobs) -> Buffer:
        return encoded(17, obj)


class _TextsDumper(Dumper):
    format = Format.BINARY
    oid = 1009

    def dump(self, obj: Texts) -> Buffer:
        encoding = self.connection.info.encoding if self.connection else "utf-8"
        return encoded(25, [None if each is None else each.encode(encoding) for each in obj])


class _IntegersDumper(Dumper):
    format = Format.BINARY
    oid = 1016

    def dump(self, obj: Integers) -> Buffer:
        return encoded_integers(20, obj)


_DUMPERS: dict[type, type[Dumper]] = {
    Blobs: _BlobsDumper,
    Texts: _TextsDumper,
    Integers: _IntegersDumper,
}
