"""What a look at a table shows before anything in it is re-encrypted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Inspector

from certrotd.datasets.port import PreflightFinding
from certrotd.datasets.sql_dialect import Dialect, Sqlite
from certrotd.datasets.sql_mariadb import MariaDB
from certrotd.datasets.sql_postgresql import PostgreSQL
from certrotd.datasets.sql_preflight_mariadb import findings_of_mariadb

if TYPE_CHECKING:
    from certrotd.datasets.sql import TableSpec


def findings_of(
    connection: Connection, spec: TableSpec, dialect: Dialect
) -> Iterator[PreflightFinding]:
    """Everything that matters, the fatal first of its kind."""
    inspector = sa.inspect(connection)
    columns = {each["name"]: each for each in inspector.get_columns(spec.table, spec.schema)}
    yield from _key(inspector, spec, columns)
    yield from _unique(inspector, spec)
    if not isinstance(dialect, Sqlite):  # a column of which takes anything
        yield from _types(spec, columns, dialect)
    for name in (each for each in spec.written if columns[each].get("computed")):
        words = f"{name} is generated: name the column that it is made of"
        yield PreflightFinding("generated", words, fatal=True)
    yield from _full(connection, spec, dialect)
    if isinstance(dialect, PostgreSQL):
        yield from _postgresql(connection, spec)
    if isinstance(dialect, MariaDB):
        own = dialect.more_columns(connection, spec.table, spec.schema)
        yield from findings_of_mariadb(connection, spec, own)
    if isinstance(dialect, Sqlite):
        yield from _sqlite(connection, spec)


def _key(inspector: Inspector, spec: TableSpec, columns: Any) -> Iterator[PreflightFinding]:
    """Rows are walked in the order of their keys: each has one, and it is its own."""
    named: set[str | None] = set(spec.key)
    primary: set[str | None] = set(
        inspector.get_pk_constraint(spec.table, spec.schema)["constrained_columns"]
    )
    unique = [set(each) for each in unique_columns(inspector, spec, whole=True)]
    nullable = [name for name in spec.key if columns[name]["nullable"] and name not in primary]
    if not any(each and each <= named for each in [primary, *unique]):
        words = f"the columns {', '.join(spec.key)} are neither primary key nor unique"
        yield PreflightFinding("key", f"{words}: rows would be left out", fatal=True)
    elif nullable:
        words = f"the key column {nullable[0]} may be NULL: such rows would be left out"
        yield PreflightFinding("key", words, fatal=True)


def unique_columns(
    inspector: Inspector, spec: TableSpec, *, whole: bool = False
) -> Sequence[Sequence[str | None]]:
    """The columns of each unique constraint or index; ``whole``: of those for every row alone."""
    constraints = inspector.get_unique_constraints(spec.table, spec.schema)
    # of SQLite also those that it makes for a constraint, which it tells in no other way
    indexes = inspector.get_indexes(spec.table, spec.schema, include_auto_indexes=True)
    found = [
        list(each["column_names"])
        for each in indexes
        if each["unique"]
        and not (whole and any("where" in n for n in each.get("dialect_options", {})))
    ]
    return [*found, *(list(each["column_names"]) for each in constraints)]


def _unique(inspector: Inspector, spec: TableSpec) -> Iterator[PreflightFinding]:
    names = [name for each in unique_columns(inspector, spec) for name in each]
    for name in (each for each in spec.written if each in names):
        words = f"{name} is unique: while two keys live, the same plaintext can be there twice"
        yield PreflightFinding("unique", words)


def _types(spec: TableSpec, columns: Any, dialect: Dialect) -> Iterator[PreflightFinding]:
    told = {**dict.fromkeys(spec.columns, spec.text), **spec.indexes}
    for name, text in told.items():
        if isinstance(dialect, PostgreSQL) and not dialect.holds(columns[name]["type"]):
            words = f"{name} is neither text nor bytea, and certrotd writes ciphertext in no other"
            yield PreflightFinding("type", words, fatal=True)
        if not text and isinstance(columns[name]["type"], sa.String | sa.JSON):
            what = "its blind index" if name in spec.indexes else "ciphertext of its codec"
            words = f"{name} holds text, and {what} is bytes"
            yield PreflightFinding("type", words, fatal=True)


def too_narrow(
    connection: Connection, spec: TableSpec, dialect: Dialect, growth: Mapping[int, int]
) -> Iterator[PreflightFinding]:
    """The columns that do not take their longest value once it has grown by so much."""
    for name, limit, longest in _widths(connection, spec, dialect):
        grown = longest + growth.get(spec.written.index(name), 0)
        if grown > limit:
            words = f"{name} takes {limit} characters, and its longest value would have {grown}"
            yield PreflightFinding("width", words, fatal=True)


def _full(connection: Connection, spec: TableSpec, dialect: Dialect) -> Iterator[PreflightFinding]:
    """Columns that are almost full already."""
    for name, limit, longest in _widths(connection, spec, dialect):
        if longest >= limit and name in spec.columns:
            words = f"{name} takes {limit} characters, and holds values of {longest}: plaintext "
            yield PreflightFinding("width", f"{words}that is encrypted would not fit")


def _widths(
    connection: Connection, spec: TableSpec, dialect: Dialect
) -> Iterator[tuple[str, int, int]]:
    """What each limited column takes, and has at most."""
    if isinstance(dialect, Sqlite):
        return  # it heeds no length
    found = sa.inspect(connection).get_columns(spec.table, spec.schema)
    types = {each["name"]: each["type"] for each in found}
    table = sa.table(spec.table, *map(sa.column, spec.written), schema=spec.schema)
    for name in spec.written:
        if (limit := _limit(types[name])) is not None:
            asked = sa.select(sa.func.max(sa.func.char_length(table.c[name])))
            yield name, limit, connection.scalar(asked) or 0


def _limit(type_: Any) -> int | None:
    """How many characters, or bytes, a column takes; None where that hardly matters."""
    if isinstance(type_, mysql.TINYTEXT | mysql.TINYBLOB):
        return 2**8 - 1
    if isinstance(type_, mysql.TEXT | sa.BLOB):
        return 2**16 - 1
    length = getattr(type_, "length", None)
    return length if isinstance(type_, sa.String | sa.VARBINARY | sa.BINARY) else None


_RELATION = """
select c.oid, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = :table
and case when cast(:schema as text) is null then pg_table_is_visible(c.oid)
    else n.nspname = :schema end
"""
_TRIGGERS = """
select t.tgname from pg_trigger t
where t.tgrelid = :oid and not t.tgisinternal and t.tgenabled <> 'D' and (t.tgtype & 16) <> 0
order by t.tgname
"""
_COLLATIONS = """
select a.attname from pg_attribute a join pg_collation c on c.oid = a.attcollation
where a.attrelid = :oid and not c.collisdeterministic
"""


def _postgresql(connection: Connection, spec: TableSpec) -> Iterator[PreflightFinding]:
    if connection.scalar(sa.text("select pg_is_in_recovery()")):
        words = "this server is a replica: name the primary, where the census is right"
        yield PreflightFinding("replica", words, fatal=True)
    named = {"table": spec.table, "schema": spec.schema}
    oid, kind = connection.execute(sa.text(_RELATION), named).one()
    kind = kind.decode() if isinstance(kind, bytes) else kind
    if kind not in ("r", "p"):
        words = "it is a view or a foreign table: name the table itself, in its own database"
        yield PreflightFinding("kind", words, fatal=True)
    if connection.scalar(sa.text("select row_security_active(:oid)"), {"oid": oid}):
        words = "row security hides rows from this account: a census would be too low"
        yield PreflightFinding("row_security", words, fatal=True)
    for privilege in ("SELECT", "UPDATE"):
        for column in spec.written:
            asked = {"oid": oid, "column": column, "privilege": privilege}
            has = sa.text("select has_column_privilege(:oid, :column, :privilege)")
            if not connection.scalar(has, asked):
                words = f"the account may not {privilege} {column}"
                yield PreflightFinding("permission", words, fatal=True)
    for trigger in connection.scalars(sa.text(_TRIGGERS), {"oid": oid}):
        words = f"the trigger {trigger} runs at each UPDATE: it may change other columns, or keep "
        yield PreflightFinding("trigger", f"{words}old ciphertext somewhere else")
    for column in connection.scalars(sa.text(_COLLATIONS), {"oid": oid}):
        words = f"the collation of {column} calls different texts the same: certrotd compares bytes"
        yield PreflightFinding("collation", words)


def _sqlite(connection: Connection, spec: TableSpec) -> Iterator[PreflightFinding]:
    catalogue = sa.table("sqlite_master", *map(sa.column, ("type", "name", "tbl_name", "sql")))
    mine = sa.select(catalogue.c.name, catalogue.c.sql).where(
        sa.func.lower(catalogue.c.tbl_name) == spec.table.lower()
    )
    if connection.execute(mine.where(catalogue.c.type == "view")).first():
        yield PreflightFinding("kind", "it is a view: name the table itself", fatal=True)
    for trigger, sql in connection.execute(mine.where(catalogue.c.type == "trigger")):
        if "update" in str(sql).lower():
            words = f"the trigger {trigger} runs at each UPDATE: it may change other columns, or "
            yield PreflightFinding("trigger", f"{words}keep old ciphertext somewhere else")
    yield from _file(connection)


def _file(connection: Connection) -> Iterator[PreflightFinding]:
    """Whether the file of SQLite can be written, and a copy of all of it would have room."""
    _, _, path = connection.exec_driver_sql("pragma database_list").all()[0]  # main comes first
    if not os.access(path, os.W_OK):
        yield PreflightFinding("permission", f"certrotd may not write {path}", fatal=True)
    disk = os.statvfs(os.path.dirname(path))
    if disk.f_bavail * disk.f_frsize < os.path.getsize(path):
        words = f"its disk has less room than {path} takes: it may be full before the end"
        yield PreflightFinding("room", words)
