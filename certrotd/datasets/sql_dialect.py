"""What differs between databases: how values are compared as bytes, and how a batch is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from certrotd.datasets.port import Change, Key

Column = sa.ColumnClause[Any]


class Mark(NamedTuple):
    """What a row is compared by: its values as they were read, or the version that it had.

    ``text``: of each, whether text is written; else it is bytes.
    """

    values: tuple[Any, ...]
    version: Any
    text: Sequence[bool]

    def __repr__(self) -> str:
        return "<mark>"


class Unordered:
    """With the type of a column: it does not sort as its values compare with parameters."""


class Dialect(Protocol):
    """One kind of database; ``serves_many``: reading and writing go on at once."""

    @property
    def serves_many(self) -> bool: ...

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """The type of every column, as values are to be read; None without such a table."""
        ...

    def walks(self, type_: Any) -> bool:
        """Whether rows can be read in the order of such a column, behind any of its values.

        Else some would be left out, or come again for ever.
        """
        ...

    def more_columns(self, connection: Connection, table: str, schema: str | None) -> Sequence[str]:
        """What else of a table a batch reads or writes."""
        ...

    def read(self, column: Column) -> sa.ColumnElement[Any]:
        """A value as it is read, and compared later."""
        ...

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """Whether a value is neither NULL nor empty."""
        ...

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """Whether a value that is filled begins with these bytes, whatever its collation."""
        ...

    def behind(self, keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
        """Whether a row comes after that key, in the order of the columns of keys."""
        ...

    def mark(self, table: sa.TableClause) -> sa.ColumnElement[Any]:
        """The version of a row, where the database tells one."""
        ...

    def of_keys(
        self,
        query: sa.Select[Any],
        table: sa.TableClause,
        keys: Sequence[Column],
        wanted: Sequence[Key],
    ) -> sa.Select[Any]:
        """The query for the rows of those keys alone."""
        ...

    def locking(
        self, connection: Connection, query: sa.Select[Any], table: sa.TableClause
    ) -> sa.Select[Any]:
        """The query, after which nobody else writes to its rows until the transaction ends."""
        ...

    def fetched(self, connection: Connection, query: sa.Select[Any]) -> Sequence[tuple[Any, ...]]:
        """All that a query finds."""
        ...

    def replace(
        self,
        connection: Connection,
        table: sa.TableClause,
        keys: Sequence[Column],
        columns: Sequence[Column],
        changes: Sequence[Change],
    ) -> int:
        """As Dataset.replace."""
        ...

    def advice(self, connection: Connection, table: str, schema: str | None) -> str | None:
        """As Advising.advice."""
        ...


class Sqlite:
    """SQLite: an UPDATE for each row, prepared once."""

    serves_many = False

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """As Dialect.types: values are as they are, whatever the column declares."""
        inspector = sa.inspect(connection)
        if not (inspector.has_table(table, schema) or table in inspector.get_view_names(schema)):
            return None
        columns = inspector.get_columns(table, schema)
        return {each["name"]: sa.types.NullType() for each in columns}

    def walks(self, type_: Any) -> bool:  # noqa: ARG002
        """As Dialect.walks: any value compares with any other."""
        return True

    def more_columns(
        self,
        connection: Connection,  # noqa: ARG002
        table: str,  # noqa: ARG002
        schema: str | None,  # noqa: ARG002
    ) -> Sequence[str]:
        """None."""
        return ()

    def read(self, column: Column) -> sa.ColumnElement[Any]:
        """As it is."""
        return column

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """As Dialect.is_filled."""
        size = sa.func.length(sa.cast(column, sa.LargeBinary))  # of text, length() ends at a NUL
        return sa.func.coalesce(size, 0) > 0

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """As Dialect.begins."""
        start = sa.func.substr(sa.cast(column, sa.LargeBinary), 1, len(beginning))
        return sa.func.coalesce(start == sa.literal(beginning, sa.LargeBinary), sa.false())

    def behind(self, keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
        """As Dialect.behind."""
        return tuple_behind(keys, tuple(map(_sent, after)))

    def mark(self, table: sa.TableClause) -> sa.ColumnElement[Any]:  # noqa: ARG002
        """None: the old values are compared."""
        return sa.null()

    def of_keys(
        self,
        query: sa.Select[Any],
        table: sa.TableClause,  # noqa: ARG002
        keys: Sequence[Column],
        wanted: Sequence[Key],
    ) -> sa.Select[Any]:
        """As Dialect.of_keys."""
        each = (
            sa.and_(*(key == _sent(place) for key, place in zip(keys, row, strict=True)))
            for row in wanted
        )
        return query.where(sa.or_(sa.false(), *each))

    def locking(
        self,
        connection: Connection,
        query: sa.Select[Any],
        table: sa.TableClause,  # noqa: ARG002
    ) -> sa.Select[Any]:
        """As Dialect.locking: nobody else writes anything."""
        connection.exec_driver_sql("begin immediate")
        return query

    def fetched(self, connection: Connection, query: sa.Select[Any]) -> Sequence[tuple[Any, ...]]:
        """As Dialect.fetched."""
        return list(map(tuple, connection.execute(query)))

    def replace(
        self,
        connection: Connection,
        table: sa.TableClause,
        keys: Sequence[Column],
        columns: Sequence[Column],
        changes: Sequence[Change],
    ) -> int:
        """As Dialect.replace."""
        rows, odd = [], 0
        for change in changes:
            row = {f"k{n}": _sent(place) for n, place in enumerate(change.row.key)}
            row |= {f"o{n}": _sent(before) for n, before in enumerate(change.row.read.values)}
            row |= {f"n{n}": _sent(stored(change, n)) for n in range(len(columns))}
            if any(isinstance(each, sa.Cast) for each in row.values()):
                odd += connection.execute(_update(table, keys, columns, row)).rowcount
            else:
                rows.append(row)
        if not rows:
            return odd
        named: dict[str, Any] = {each: sa.bindparam(each) for each in rows[0]}
        return odd + connection.execute(_update(table, keys, columns, named), rows).rowcount

    def advice(self, connection: Connection, table: str, schema: str | None) -> None:
        """None: what was replaced leaves its room to what replaces it."""


def _update(
    table: sa.TableClause, keys: Sequence[Column], columns: Sequence[Column], row: Mapping[str, Any]
) -> sa.Update:
    """What writes a row that is as it was read, in SQLite."""
    same = [key == row[f"k{n}"] for n, key in enumerate(keys)]
    # IS compares NULL, too; a collation may call two ciphertexts the same
    same += [
        column.collate("BINARY").is_not_distinct_from(row[f"o{n}"])
        for n, column in enumerate(columns)
    ]
    new = {column.name: row[f"n{n}"] for n, column in enumerate(columns)}
    return sa.update(table).where(*same).values(new)


def _sent(value: Any) -> Any:
    """A value as SQLite is to get it: text that is not UTF-8 goes as bytes, and is text there."""
    if isinstance(value, str) and not value.isascii():
        data = value.encode("utf-8", "surrogateescape")
        if data != value.encode("utf-8", "replace"):
            return sa.cast(sa.literal(data, sa.LargeBinary), sa.Text)
    return value


def tuple_behind(keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
    """As Dialect.behind, by comparing tuples."""
    if len(keys) == 1:
        return keys[0] > after[0]
    told: Sequence[Any] = after  # an expression, where SQLite is to get it as one
    values = [
        each if isinstance(each, sa.Cast) else sa.literal(each, key.type)
        for key, each in zip(keys, told, strict=True)
    ]
    return sa.tuple_(*keys) > sa.tuple_(*values)


def stored(change: Change, field: int) -> Any:
    """What a field is to be, as its column has it: text where it was text."""
    value, mark = change.values[field], change.row.read
    before = mark.values[field]
    if value is None or value == change.row.values[field]:
        return before  # of whatever type it is
    text = mark.text[field] and (before is None or isinstance(before, str))
    return value.decode() if text else value
