"""Some rows of a table in a temporary table of the same database, which ends with its connection.

The table itself is only read. In PostgreSQL all of it is one transaction that is rolled back at the
end, so that nothing is left in a session that a pooler gives to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from certrotd.datasets.port import Key, PreflightFinding
from certrotd.datasets.sql import SqlDataset
from certrotd.datasets.sql_dialect import Column
from certrotd.datasets.sql_errors import as_failures

NAME = "certrotd_rehearsal"
_PART = 100
"""So many rows are copied at a time, and measured."""


class ScratchTable(SqlDataset):
    """Dataset, of copies of rows of ``live``; everything goes over ``connection``."""

    def __init__(self, live: SqlDataset, connection: Connection) -> None:
        spec = live.spec
        own = replace(spec, table=NAME, schema=None, where=None)
        super().__init__(live.name, connection.engine, own, live.dialect)
        self._live = live
        self._connection = connection

    @cached_property
    def table(self) -> sa.TableClause:
        """The columns of the live table, of their types."""
        with self.connected() as connection:
            more = self.dialect.more_columns(connection, NAME, None)
        columns = [sa.column(each.name, each.type) for each in self._wanted]
        return sa.table(NAME, *columns, *(sa.column(each) for each in more))

    @property
    def reads_while_writing(self) -> bool:
        """Never: there is one connection."""
        return False

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """As SqlDataset.connected, within what is rolled back at the end."""
        whole = self._connection
        begin = whole.begin_nested if whole.in_transaction() else whole.begin
        with as_failures(f"the rehearsal of {self.name}"), begin():
            yield whole

    def findings(self) -> Sequence[PreflightFinding]:
        """Those of the live table are asked."""
        return ()

    def fill(self, keys: Sequence[Key], size: int) -> tuple[int, int]:
        """Copy the rows of these keys until ``size`` bytes are there; how many, and their bytes.

        Raises Failure.
        """
        names = [each.name for each in self._wanted]
        live = self._live.table
        source = sa.select(*(live.c[each] for each in names))
        with self.connected() as connection:
            _create(connection, source)
        rows, copied = 0, 0
        for start in range(0, len(keys), _PART):
            part = keys[start : start + _PART]
            with self.connected() as connection:
                key = [live.c[each] for each in self.spec.key]
                wanted = self.dialect.of_keys(source, live, key, part)
                connection.execute(sa.insert(self.table).from_select(names, wanted))
            there = self.again(part)
            rows += len(there)
            copied += sum(len(each) for row in there for each in row.values if each is not None)
            if copied >= size:
                break
        return rows, copied

    @property
    def _wanted(self) -> Sequence[Column]:
        spec, table = self.spec, self._live.table
        return [table.c[e] for e in dict.fromkeys((*spec.key, *spec.written, *spec.keep))]


def _create(connection: Connection, source: sa.Select[Any]) -> None:
    """An empty temporary table with the columns of ``source``, as wide as they are."""
    empty = source.where(sa.false()).compile(
        dialect=connection.dialect, compile_kwargs={"literal_binds": True}
    )
    connection.exec_driver_sql(f"create temporary table {NAME} as {empty}")
