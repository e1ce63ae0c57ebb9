"""SQLite: a file, used as the servers of other databases are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any


class SqliteFile:
    """A database whose writers wait for each other, with a log of its own (WAL)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("pragma journal_mode = wal")

    def url(self, database: str = "") -> str:
        """As the configuration has it."""
        del database
        return f"sqlite:///{self._path}"

    @contextmanager
    def connect(self, database: str = "") -> Iterator[Connection]:
        """A connection that commits each statement."""
        del database
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=60)) as opened:
            yield Connection(opened)


class Connection:
    """As that of psycopg and PyMySQL."""

    def __init__(self, opened: sqlite3.Connection) -> None:
        self._opened = opened

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """One that takes %s for parameters."""
        with closing(self._opened.cursor()) as cursor:
            yield Cursor(cursor)


class Cursor:
    """As theirs."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def execute(self, sql: str, told: Sequence[Any] = ()) -> None:
        """One statement."""
        self._cursor.execute(sql.replace("%s", "?"), told)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """One for each row."""
        self._cursor.executemany(sql.replace("%s", "?"), rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)
