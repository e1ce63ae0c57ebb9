"""Databases that tests of datasets run against: SQLite, and real PostgreSQL and MariaDB."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.contract.kek_rigs import Part
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PASSWORD, PostgreSQL

Database = tuple[Callable[..., list[Any]], str]
"""What executes SQL in a database, and its URL."""
DATABASES = ("sqlite", "postgresql", "mariadb")


def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stack: ExitStack,
    kind: str,
) -> Database:
    """An empty database of that kind."""
    if kind == "sqlite":
        path = tmp_path / "app.db"
        local = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        return lambda sql, *told: local.execute(sql, told).fetchall(), f"sqlite:///{path}"
    part: Part = request.getfixturevalue("part")
    server = part(PostgreSQL if kind == "postgresql" else MariaDB)
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    name = f"test{abs(hash(tmp_path)) % 10**9}"
    with server.connect() as admin, admin.cursor() as cursor:
        cursor.execute(f"create database {name}")
    remote = stack.enter_context(server.connect(name))

    def execute(sql: str, *told: object) -> list[Any]:
        text = sql.replace("%", "%%").replace("?", "%s") if told else sql
        with remote.cursor() as cursor:
            cursor.execute(text, told or None)
            return list(cursor.fetchall()) if cursor.description else []

    if kind == "mariadb":
        execute("set session sql_mode = 'ANSI_QUOTES'")  # and values are cut to fit
    return execute, server.url(name)
