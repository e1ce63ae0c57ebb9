"""What a look at a table of MariaDB or MySQL shows before anything in it is re-encrypted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from certrotd.datasets.port import PreflightFinding

if TYPE_CHECKING:
    from certrotd.datasets.sql import TableSpec

DENIED = {1142, 1143, 1345}
"""The account lacks a privilege: for a table, for a column, for what is behind a view."""
_SERVER = "select @@global.read_only, @@global.log_bin, @@session.binlog_format"
_TABLE = """
select table_name, table_type, engine from information_schema.tables
where table_schema = coalesce(:schema, database()) and table_name = :table
"""
_TRIGGERS = """
select trigger_name from information_schema.triggers
where event_object_schema = coalesce(:schema, database()) and event_object_table = :table
and event_manipulation = 'UPDATE' order by trigger_name
"""
_COLUMNS = """
select column_name, data_type from information_schema.columns
where table_schema = coalesce(:schema, database()) and table_name = :table
order by ordinal_position
"""


def findings_of_mariadb(
    connection: Connection, spec: TableSpec, own: Sequence[str]
) -> Iterator[PreflightFinding]:
    """Everything about the server, the table and the account; ``own`` columns are written, too."""
    server = list(_server(connection))
    yield from server
    named = {"table": spec.table, "schema": spec.schema}
    for table, kind, engine in connection.execute(sa.text(_TABLE), named):
        if table == spec.table:
            yield from _kind(str(kind), str(engine))
    if not server:
        columns = dict.fromkeys((*spec.written, *spec.keep, *own))
        yield from _permissions(
            connection, sa.table(spec.table, *map(sa.column, columns), schema=spec.schema)
        )
    for trigger in connection.scalars(sa.text(_TRIGGERS), named):
        words = f"the trigger {trigger} runs at each UPDATE: it may change other columns, or keep "
        yield PreflightFinding("trigger", f"{words}old ciphertext somewhere else")
    for column, kind in connection.execute(sa.text(_COLUMNS), named):
        if column in spec.columns and str(kind).lower() == "json":  # that of MariaDB is text
            words = f"{column} is of the type json, which is not supported on MySQL"
            yield PreflightFinding("type", words, fatal=True)


def _server(connection: Connection) -> Iterator[PreflightFinding]:
    read_only, logs, logged_as = map(str, connection.execute(sa.text(_SERVER)).one())
    if read_only not in ("0", "OFF"):
        words = "this server is read-only, as replicas are: name the primary, where the census is "
        yield PreflightFinding("replica", f"{words}right", fatal=True)
    if logs not in ("0", "OFF") and logged_as == "STATEMENT":
        words = "binlog_format is STATEMENT, with which InnoDB refuses READ COMMITTED: "
        yield PreflightFinding("binlog", f"{words}set it to MIXED or ROW", fatal=True)


def _kind(kind: str, engine: str) -> Iterator[PreflightFinding]:
    if "VIEW" in kind:
        yield PreflightFinding("kind", "it is a view: name the table itself", fatal=True)
    elif engine != "InnoDB":
        words = f"its engine is {engine}: without InnoDB's transactions, a batch that is cut off "
        yield PreflightFinding("engine", f"{words}is written in part, each row wholly or not")
    if kind == "SYSTEM VERSIONED":
        words = "it is system-versioned: its history keeps old ciphertext until it is deleted"
        yield PreflightFinding("history", words)


def _permissions(connection: Connection, table: sa.TableClause) -> Iterator[PreflightFinding]:
    """By asking how the server would do it, which takes the same privileges and changes nothing."""
    for column in table.c:
        update = sa.update(table).values({column.name: column}).where(sa.false())
        try:
            connection.exec_driver_sql(f"explain {update.compile(connection)}", ())
        except sa.exc.DBAPIError as error:
            if error.orig is None or error.orig.args[0] not in DENIED:
                raise
            words = f"the account may not SELECT and UPDATE {column.name}"
            yield PreflightFinding("permission", words, fatal=True)
