"""Arrays for PostgreSQL, byte for byte as psycopg makes them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.array import ListBinaryDumper

from certrotd.datasets.postgresql_arrays import _DUMPERS as DUMPERS
from certrotd.datasets.postgresql_arrays import Blobs, Integers, Texts, array_of, encoded


def by_psycopg(values: list[Any]) -> bytes:
    """By its own dumper of lists."""
    dumper = ListBinaryDumper(list, Transformer())
    made = dumper.upgrade(values, PyFormat.BINARY).dump(values)
    assert made is not None
    return bytes(made)


@pytest.mark.parametrize(
    "values",
    [
        Blobs([b"one", b"", None, b"\x00\xff" * 300]),
        Blobs([b"x"]),
        Texts(["one", "", None, "ä\u20ac\U0001f511"]),
        Integers([1 << 40, -(1 << 62), 1 << 33]),
    ],
)
def test_an_array_is_the_same_as_psycopgs(values: list[Any]) -> None:
    """Lengths, NULLs, types and all."""
    kind = type(values)
    dumper = DUMPERS[kind](kind)
    made = dumper.dump(values)
    assert made is not None
    assert bytes(made) == by_psycopg(list(values))


def test_an_array_without_elements_has_no_dimension() -> None:
    """Nor has psycopg's."""
    assert encoded(17, []) == b"\0" * 8 + (17).to_bytes(4)
    assert bytes(DUMPERS[Integers](Integers).dump(Integers()) or b"") == b"\0" * 8 + (20).to_bytes(
        4
    )


def test_only_types_that_are_sent_as_they_are_take_this_way() -> None:
    """Texts of a character set that was not decoded, and types like dates, go by psycopg."""
    assert isinstance(array_of(sa.LargeBinary(), [b"x"]), Blobs)
    assert isinstance(array_of(sa.Text(), ["x", None]), Texts)
    assert isinstance(array_of(sa.SmallInteger(), [1]), Integers)
    assert array_of(sa.Text(), [b"x"]) is None
    assert array_of(sa.Date(), []) is None
    assert array_of(sa.Numeric(), []) is None
