"""What differs between databases: how values are compared as bytes, and how a batch is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from certrotd.datasets.port import Change, Key

LONG = 256
"""Above so many bytes, PostgreSQL compares the row's version (xmin) instead of the old value."""

Column = sa.ColumnClause[Any]


class Mark(NamedTuple):
    """What a row is compared by: its values as they were read, or the version that it had."""

    values: tuple[Any, ...]
    version: Any

    def __repr__(self) -> str:
        return "<mark>"


class Dialect(Protocol):
    """One kind of database."""

    system_columns: Sequence[str]

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """The type of every column, as values are to be read; None without such a table."""
        ...

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """Whether a value is neither NULL nor empty."""
        ...

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """Whether a value that is filled begins with these bytes, whatever its collation."""
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


class Sqlite:
    """SQLite: an UPDATE for each row, prepared once."""

    system_columns: Sequence[str] = ()

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """As Dialect.types: values are as they are, whatever the column declares."""
        inspector = sa.inspect(connection)
        if not (inspector.has_table(table, schema) or table in inspector.get_view_names(schema)):
            return None
        columns = inspector.get_columns(table, schema)
        return {each["name"]: sa.types.NullType() for each in columns}

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """As Dialect.is_filled."""
        return sa.func.coalesce(sa.func.length(column), 0) > 0

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """As Dialect.begins."""
        start = sa.func.substr(sa.cast(column, sa.LargeBinary), 1, len(beginning))
        return sa.func.coalesce(start == sa.literal(beginning, sa.LargeBinary), sa.false())

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
            sa.and_(*(key == place for key, place in zip(keys, row, strict=True))) for row in wanted
        )
        return query.where(sa.or_(sa.false(), *each))

    def replace(
        self,
        connection: Connection,
        table: sa.TableClause,
        keys: Sequence[Column],
        columns: Sequence[Column],
        changes: Sequence[Change],
    ) -> int:
        """As Dialect.replace."""
        same = [key == sa.bindparam(f"k{n}") for n, key in enumerate(keys)]
        # IS compares NULL, too; a collation may call two ciphertexts the same
        same += [
            column.collate("BINARY").is_not_distinct_from(sa.bindparam(f"o{n}"))
            for n, column in enumerate(columns)
        ]
        new: dict[Any, Any] = {c.name: sa.bindparam(f"n{n}") for n, c in enumerate(columns)}
        rows = []
        for change in changes:
            row = {f"k{n}": place for n, place in enumerate(change.row.key)}
            row |= {f"o{n}": before for n, before in enumerate(change.row.read.values)}
            row |= {f"n{n}": _stored(change, n) for n in range(len(columns))}
            rows.append(row)
        return connection.execute(sa.update(table).where(*same).values(new), rows).rowcount


class PostgreSQL:
    """PostgreSQL: one UPDATE for the batch, from arrays."""

    system_columns: Sequence[str] = ("xmin",)

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """As Dialect.types."""
        inspector = sa.inspect(connection)
        try:
            columns = inspector.get_columns(table, schema)
        except sa.exc.NoSuchTableError:
            return None
        return {each["name"]: _plain(each["type"]) for each in columns}

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """As Dialect.is_filled."""
        return sa.func.coalesce(sa.func.octet_length(column), 0) > 0

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """As Dialect.begins."""
        if isinstance(column.type, sa.LargeBinary):
            start = sa.func.substr(column, 1, len(beginning), type_=sa.LargeBinary)
            return sa.func.coalesce(start == sa.literal(beginning, sa.LargeBinary), sa.false())
        # ciphertext is ASCII; what is not begins like none
        text = sa.func.left(sa.cast(column, sa.Text), len(beginning), type_=sa.Text)
        return sa.func.coalesce(text.collate("C") == beginning.decode("latin-1"), sa.false())

    def mark(self, table: sa.TableClause) -> sa.ColumnElement[Any]:
        """The transaction that wrote the row."""
        return sa.cast(table.c.xmin, sa.Text)

    def of_keys(
        self,
        query: sa.Select[Any],
        table: sa.TableClause,
        keys: Sequence[Column],
        wanted: Sequence[Key],
    ) -> sa.Select[Any]:
        """As Dialect.of_keys."""
        asked = _arrays(
            "asked", [(f"k{n}", key.type, [row[n] for row in wanted]) for n, key in enumerate(keys)]
        )
        same = [key == asked.c[f"k{n}"] for n, key in enumerate(keys)]
        return query.select_from(table.join(asked, sa.and_(*same)))

    def replace(
        self,
        connection: Connection,
        table: sa.TableClause,
        keys: Sequence[Column],
        columns: Sequence[Column],
        changes: Sequence[Change],
    ) -> int:
        """As Dialect.replace."""
        parts: list[tuple[str, Any, list[Any]]] = [
            (f"k{n}", key.type, [each.row.key[n] for each in changes]) for n, key in enumerate(keys)
        ]
        by_version = _by_version(changes)
        for n, column in enumerate(columns):
            parts.append((f"n{n}", column.type, [_stored(each, n) for each in changes]))
            if not by_version:
                old = [each.row.read.values[n] for each in changes]
                parts.append((f"o{n}", column.type, old))
        if by_version:
            parts.append(("version", sa.Text(), [each.row.read.version for each in changes]))
        batch = _arrays("batch", parts)
        same = [key == batch.c[f"k{n}"] for n, key in enumerate(keys)]
        if by_version:
            same.append(self.mark(table) == batch.c.version)
        else:
            same += [
                _exact(column).is_not_distinct_from(_exact(batch.c[f"o{n}"]))
                for n, column in enumerate(columns)
            ]
        new_values = {column.name: batch.c[f"n{n}"] for n, column in enumerate(columns)}
        return connection.execute(sa.update(table).where(*same).values(new_values)).rowcount


def _stored(change: Change, field: int) -> Any:
    """What a field is to be, as its column has it: text where it was text."""
    value, before = change.values[field], change.row.read.values[field]
    if value is None or value == change.row.values[field]:
        return before  # of whatever type it is
    return value.decode("ascii") if isinstance(before, str) else value


def _by_version(changes: Sequence[Change]) -> bool:
    """Whether the row's version is sent instead of its old values: it is shorter, and as good."""
    if any(each.row.read.version is None for each in changes):
        return False
    return any(
        value is not None and len(value) > LONG for each in changes for value in each.row.values
    )


def _arrays(name: str, parts: Sequence[tuple[str, Any, list[Any]]]) -> Any:
    """Arrays as a table of that name, one column each."""
    arrays = [sa.bindparam(f"{name}_{n}", value, ARRAY(type_)) for n, type_, value in parts]
    columns = [sa.column(n, type_) for n, type_, _ in parts]
    return sa.func.unnest(*arrays).table_valued(*columns, name=name).render_derived()


def _exact(column: Any) -> Any:
    """A column as it compares by bytes."""
    if isinstance(column.type, sa.LargeBinary):
        return column
    return sa.cast(column, sa.Text).collate("C")


def _plain(type_: Any) -> Any:
    """The type of a column without what would change its values on their way."""
    if isinstance(type_, sa.Text | sa.String):
        return sa.Text()
    return type_
