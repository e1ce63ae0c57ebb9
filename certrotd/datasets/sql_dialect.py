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

_DEAD_ROWS = """
select n_live_tup, n_dead_tup from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where c.relname = :table and n_dead_tup > 0
and case when cast(:schema as text) is null then pg_table_is_visible(c.oid)
    else s.schemaname = :schema end
"""
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


class Dialect(Protocol):
    """One kind of database."""

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """The type of every column, as values are to be read; None without such a table."""
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

    def types(
        self, connection: Connection, table: str, schema: str | None
    ) -> Mapping[str, Any] | None:
        """As Dialect.types: values are as they are, whatever the column declares."""
        inspector = sa.inspect(connection)
        if not (inspector.has_table(table, schema) or table in inspector.get_view_names(schema)):
            return None
        columns = inspector.get_columns(table, schema)
        return {each["name"]: sa.types.NullType() for each in columns}

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
        return sa.func.coalesce(sa.func.length(column), 0) > 0

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """As Dialect.begins."""
        start = sa.func.substr(sa.cast(column, sa.LargeBinary), 1, len(beginning))
        return sa.func.coalesce(start == sa.literal(beginning, sa.LargeBinary), sa.false())

    def behind(self, keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
        """As Dialect.behind."""
        return _tuple_behind(keys, after)

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

    def locking(
        self,
        connection: Connection,
        query: sa.Select[Any],
        table: sa.TableClause,  # noqa: ARG002
    ) -> sa.Select[Any]:
        """As Dialect.locking: nobody else writes anything."""
        connection.exec_driver_sql("begin immediate")
        return query

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
            row |= {f"n{n}": stored(change, n) for n in range(len(columns))}
            rows.append(row)
        return connection.execute(sa.update(table).where(*same).values(new), rows).rowcount

    def advice(self, connection: Connection, table: str, schema: str | None) -> None:
        """None: what was replaced leaves its room to what replaces it."""


class PostgreSQL:
    """PostgreSQL: one UPDATE for the batch, from arrays."""

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

    def more_columns(
        self,
        connection: Connection,  # noqa: ARG002
        table: str,  # noqa: ARG002
        schema: str | None,  # noqa: ARG002
    ) -> Sequence[str]:
        """What mark needs."""
        return ("xmin",)

    def read(self, column: Column) -> sa.ColumnElement[Any]:
        """Documents as text: what is parsed has lost digits."""
        return _text(column)

    def is_filled(self, column: Column) -> sa.ColumnElement[bool]:
        """As Dialect.is_filled."""
        return sa.func.coalesce(sa.func.octet_length(_text(column)), 0) > 0

    def begins(self, column: Column, beginning: bytes) -> sa.ColumnElement[bool]:
        """As Dialect.begins."""
        if isinstance(column.type, sa.LargeBinary):
            start = sa.func.substr(column, 1, len(beginning), type_=sa.LargeBinary)
            return sa.func.coalesce(start == sa.literal(beginning, sa.LargeBinary), sa.false())
        # ciphertext is ASCII; what is not begins like none
        text = sa.func.left(sa.cast(column, sa.Text), len(beginning), type_=sa.Text)
        return sa.func.coalesce(text.collate("C") == beginning.decode("latin-1"), sa.false())

    def behind(self, keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
        """As Dialect.behind."""
        return _tuple_behind(keys, after)

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

    def locking(
        self,
        connection: Connection,  # noqa: ARG002
        query: sa.Select[Any],
        table: sa.TableClause,
    ) -> sa.Select[Any]:
        """As Dialect.locking."""
        return query.with_for_update(of=table)

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
            sent = sa.Text() if isinstance(column.type, sa.JSON) else column.type
            parts.append((f"n{n}", sent, [stored(each, n) for each in changes]))
            if not by_version:
                old = [each.row.read.values[n] for each in changes]
                parts.append((f"o{n}", sent, old))
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
        new_values = {
            c.name: sa.cast(batch.c[f"n{n}"], c.type)
            if isinstance(c.type, sa.JSON)
            else batch.c[f"n{n}"]
            for n, c in enumerate(columns)
        }
        return connection.execute(sa.update(table).where(*same).values(new_values)).rowcount

    def advice(self, connection: Connection, table: str, schema: str | None) -> str | None:
        """To remove the rows that were replaced, when they are a tenth of the table."""
        named = {"table": table, "schema": schema}
        found = connection.execute(sa.text(_DEAD_ROWS), named).one_or_none()
        if found is None or found[1] * 10 < found[0]:
            return None
        return f"run VACUUM (ANALYZE) {table}: {found[1]:,} of its rows are dead"


def _tuple_behind(keys: Sequence[Column], after: Key) -> sa.ColumnElement[bool]:
    if len(keys) == 1:
        return keys[0] > after[0]
    values = [sa.literal(each, key.type) for key, each in zip(keys, after, strict=True)]
    return sa.tuple_(*keys) > sa.tuple_(*values)


def stored(change: Change, field: int) -> Any:
    """What a field is to be, as its column has it: text where it was text."""
    value, mark = change.values[field], change.row.read
    before = mark.values[field]
    if value is None or value == change.row.values[field]:
        return before  # of whatever type it is
    text = mark.text[field] and (before is None or isinstance(before, str))
    return value.decode() if text else value


def _by_version(changes: Sequence[Change]) -> bool:
    """Whether the row's version is sent instead of its old values: it is shorter, and as good."""
    if any(each.row.read.version is None for each in changes):
        return False
    return any(
        value is not None and len(value) > LONG for each in changes for value in each.row.values
    )


def _arrays(name: str, parts: Sequence[tuple[str, Any, list[Any]]]) -> Any:
    """Arrays as a table of that name, one column each."""
    arrays = [sa.bindparam(f"{name}_{n}", value, ARRAY(_sent(type_))) for n, type_, value in parts]
    columns = [sa.column(n, type_) for n, type_, _ in parts]
    return sa.func.unnest(*arrays).table_valued(*columns, name=name).render_derived()


class _Bytes(sa.LargeBinary):
    """Bytes that go to the driver as they are: a wrapper for each costs more than all the rest."""

    def bind_processor(self, dialect: Any) -> None:
        """None."""


def _sent(type_: Any) -> Any:
    return _Bytes() if isinstance(type_, sa.LargeBinary) else type_


def _text(column: Column) -> sa.ColumnElement[Any]:
    """A column, as text if it is JSON."""
    return sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column


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
