"""PostgreSQL as a dialect of SQL datasets: one UPDATE for a batch, from arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, DOMAIN, OID
from sqlalchemy.engine import Connection

from certrotd.datasets.port import Change, Key
from certrotd.datasets.sql_dialect import Column, Unordered, stored, tuple_behind

warnings.filterwarnings("ignore", "Did not recognize type", sa.exc.SAWarning)
"""Of columns that are none of ours; of ours it is told in words."""
LONG = 256
"""Above so many bytes, PostgreSQL compares the row's version (xmin) instead of the old value."""

_DEAD_ROWS = """
select n_live_tup, n_dead_tup from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where c.relname = :table and n_dead_tup > 0
and case when cast(:schema as text) is null then pg_table_is_visible(c.oid)
    else s.schemaname = :schema end
"""
_WALKED = (sa.Integer, sa.Numeric, sa.Text, sa.LargeBinary, sa.Uuid, sa.DateTime, sa.Date, OID)
_BINARY = (sa.Integer, sa.LargeBinary, sa.Text, sa.Uuid)
IN_BINARY = "in_binary"
"""The option of a statement whose results PostgreSQL is to send in binary."""


class _UnorderedText(Unordered, sa.Text):
    """Of an enumeration, or text without case: a parameter compares as text."""


class PostgreSQL:
    """PostgreSQL: one UPDATE for the batch, from arrays."""

    serves_many = True

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

    def walks(self, type_: Any) -> bool:
        """As Dialect.walks."""
        return isinstance(type_, _WALKED) and not isinstance(type_, Unordered | sa.Float)

    def holds(self, type_: Any) -> bool:
        """Whether ciphertext can be written into such a column."""
        plain = _plain(type_)
        return isinstance(plain, sa.LargeBinary | sa.JSON | sa.Text) and not _is_enum(type_)

    def more_columns(
        self,
        connection: Connection,  # noqa: ARG002
        table: str,  # noqa: ARG002
        schema: str | None,  # noqa: ARG002
    ) -> Sequence[str]:
        """What mark needs."""
        return ("xmin",)

    def read(self, column: Column) -> sa.ColumnElement[Any]:
        """Documents as text: what is parsed has lost digits; so is all that is like text."""
        if isinstance(column.type, sa.Text | sa.JSON):
            return sa.cast(column, sa.Text)
        return column

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
        return tuple_behind(keys, after)

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

    def fetched(self, connection: Connection, query: sa.Select[Any]) -> Sequence[tuple[Any, ...]]:
        """As Dialect.fetched; as the driver has them, and in binary where that loses no type."""
        binary = all(isinstance(each.type, _BINARY) for each in query.selected_columns)
        found = connection.execute(query, execution_options={IN_BINARY: binary})
        if not binary:
            return list(map(tuple, found))
        with closing(found):
            return found.cursor.fetchall()

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
            if isinstance(sent, sa.LargeBinary):
                new = [each.values[n] for each in changes]
            else:
                new = [stored(each, n) for each in changes]
            parts.append((f"n{n}", sent, new))
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


def _by_version(changes: Sequence[Change]) -> bool:
    """Whether the row's version is sent instead of its old values: it is shorter, and as good."""
    if any(each.row.read.version is None for each in changes):
        return False
    return any(
        value is not None and len(value) > LONG for each in changes for value in each.row.values
    )


def _arrays(name: str, parts: Sequence[tuple[str, Any, list[Any]]]) -> Any:
    """Arrays as a table of that name, one column each."""
    arrays = [_array(f"{name}_{n}", type_, value) for n, type_, value in parts]
    columns = [sa.column(n, type_) for n, type_, _ in parts]
    return sa.func.unnest(*arrays).table_valued(*columns, name=name).render_derived()


def _array(name: str, type_: Any, values: list[Any]) -> sa.ColumnElement[Any]:
    from certrotd.datasets.postgresql_arrays import array_of

    if (quick := array_of(type_, values)) is None:
        return sa.bindparam(name, values, ARRAY(type_))
    return sa.cast(sa.bindparam(name, quick, sa.types.NullType()), ARRAY(type_))


def _text(column: Column) -> sa.ColumnElement[Any]:
    """A column, as text if it is JSON."""
    return sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column


def _exact(column: Any) -> Any:
    """A column as it compares by bytes."""
    if isinstance(column.type, sa.LargeBinary):
        return column
    return sa.cast(column, sa.Text).collate("C")


def _is_enum(type_: Any) -> bool:
    return isinstance(type_.data_type if isinstance(type_, DOMAIN) else type_, sa.Enum)


def _plain(type_: Any) -> Any:
    """The type of a column without what would change its values on their way."""
    if isinstance(type_, DOMAIN):
        return _plain(type_.data_type)
    if isinstance(type_, sa.Enum | CITEXT):
        return _UnorderedText()
    if isinstance(type_, sa.Text | sa.String):
        return sa.Text()
    return type_
