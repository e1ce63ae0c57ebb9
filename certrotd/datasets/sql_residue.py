"""Undeclared ciphertext in a database: every column of text or bytes that the account may read.

So is an undeclared blind index of a dataset, as far as its name tells.

Nothing is written. A column is asked for values that begin as ciphertext does, and the database
stops at the first ones that it finds; where none are it reads the column once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from certrotd.clock import Deadline
from certrotd.datasets.residue import MOST_BYTES, SAMPLE, Residue, Scanned, Signatures
from certrotd.datasets.sql_dialect import Dialect
from certrotd.datasets.sql_errors import as_failures
from certrotd.errors import Failure, Transient

Declared = Mapping[tuple[str, str, str], tuple[str | None, ...]]
"""Columns of datasets, by schema, table and name, with the condition of each (None: all rows)."""
_OWN = frozenset({"information_schema", "pg_catalog", "pg_toast"})
_STEPS = 10_000
_INDEX_NAME = re.compile(r".*_(?:bidx|blind_index)(?:_v?\d+)?\Z", re.IGNORECASE)
"""How the libraries have columns of blind indexes called: their values look like nothing."""


@dataclass(frozen=True)
class Database:
    """One database of datasets; ``name`` is what places in it begin with."""

    name: str
    engine: Engine
    dialect: Dialect
    declared: Declared

    def scanned(self, signatures: Signatures, deadline: Deadline) -> Scanned:
        """Look at every column until the deadline; raises Failure where none can be listed."""
        columns, whole = 0, Scanned()
        for schema, table, column, where in self._columns():
            place = f"{self.name}/{'.'.join(filter(None, (schema, table, column.name)))}"
            if deadline.passed:
                return whole + Scanned(columns, unfinished=(f"{place} and what follows",))
            columns += 1
            try:
                values = self._values(schema, table, column, where, signatures, deadline)
            except Failure as failure:
                late = deadline.passed
                words = place if late else f"{place}: {failure.message}"
                again = late or isinstance(failure, Transient)  # else the account may not
                whole += Scanned(unfinished=(words,)) if again else Scanned(unreadable=(words,))
                continue
            seen, what = signatures.judged(values)
            if not seen and self._is_index(schema, table, column):
                seen, what = len(values), "by its name, it is a blind index of an encrypted column"
            if seen:
                whole += Scanned(found=(Residue(place, seen, what),))
        return whole + Scanned(columns)

    def _columns(self) -> Iterator[tuple[str | None, str, Any, tuple[str, ...]]]:
        """Schema, table and column of what is in no dataset, and of which rows it is not."""
        with as_failures(self.name):
            inspector = sa.inspect(self.engine)
            default = inspector.default_schema_name or ""
            schemas: Iterable[str] = [default]
            if self.engine.dialect.name == "postgresql":
                schemas = [each for each in inspector.get_schema_names() if each not in _OWN]
            tables = [
                (schema, table)
                for schema in schemas
                for table in sorted(inspector.get_table_names(schema or None))
            ]
        for schema, table in tables:
            named = (schema or None) if self.engine.dialect.name == "postgresql" else None
            with as_failures(f"{self.name}/{table}"), self.engine.connect() as connection:
                types = self.dialect.types(connection, table, named) or {}
            for name, type_ in types.items():
                known = self.declared.get((schema, table, name), ())
                if _may_hold(type_) and None not in known:
                    conditions = tuple(each for each in known if each is not None)
                    yield named, table, sa.column(name, type_), conditions

    def _is_index(self, schema: str | None, table: str, column: Any) -> bool:
        """Whether it may be a blind index of a dataset, which does not declare it."""
        declared = any(each[1] == table and schema in (each[0], None) for each in self.declared)
        return declared and _INDEX_NAME.match(column.name) is not None

    def _values(
        self,
        schema: str | None,
        table: str,
        column: Any,
        where: tuple[str, ...],
        signatures: Signatures,
        deadline: Deadline,
    ) -> list[bytes]:
        """Some values that begin as ciphertext does; raises Failure, as once it takes too long."""
        known = signatures.beginnings
        if isinstance(column.type, sa.String):  # it holds text, and no zero byte
            known = [each for each in known if each.isascii() and 0 not in each]
        begins = [self.dialect.begins(column, each) for each in known]
        if self._is_index(schema, table, column):
            begins = [sa.true()]
        start = sa.func.substr(column, 1, MOST_BYTES, type_=column.type)
        query = sa.select(start).select_from(sa.table(table, column, schema=schema))
        query = query.where(self.dialect.is_filled(column), sa.or_(sa.false(), *begins)).limit(
            SAMPLE
        )
        for each in where:
            query = query.where(sa.text("((" + each.replace(":", r"\:") + "\n) is not true)"))
        with as_failures(self.name), self.engine.connect() as connection:
            _bounded(connection, deadline)
            return [_bytes(value) for (value,) in connection.execute(query).all()]


def _may_hold(type_: Any) -> bool:
    """Whether ciphertext fits; SQLite does not tell, and any column of it holds anything."""
    return isinstance(type_, sa.types.NullType | sa.String | sa.LargeBinary)


def _bounded(connection: Connection, deadline: Deadline) -> None:
    """Have the database read only, and end by itself what takes too long."""
    left = max(1, int(deadline.remaining * 1000))
    dialect: Any = connection.dialect
    if dialect.name == "postgresql":
        connection.execute(sa.text("set transaction read only"))
        connection.execute(sa.text(f"set local statement_timeout = {left}"))
    elif dialect.name == "sqlite":
        raw: Any = connection.connection.driver_connection
        raw.execute("pragma query_only = on")
        raw.set_progress_handler(lambda: deadline.passed, _STEPS)
    elif getattr(dialect, "is_mariadb", False):
        connection.execute(sa.text(f"set session max_statement_time = {left / 1000}"))
    else:
        connection.execute(sa.text(f"set session max_execution_time = {left}"))


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return (
        bytes(value) if isinstance(value, bytes | memoryview | bytearray) else str(value).encode()
    )
