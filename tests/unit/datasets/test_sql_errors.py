"""What a database says against a statement: who has to do something, and whether to try again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from certrotd.datasets.port import Busy, Refused
from certrotd.datasets.sql_errors import as_failures
from certrotd.errors import Failure, NeedsOperator, Transient


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1317, Busy),  # KILL QUERY
        (1412, Busy),  # the table definition has changed
        (1021, Transient),  # disk full
        (1047, Transient),  # a node that is not part of its Galera cluster
        (1290, Transient),  # --read-only, as before a failover
        (1226, Transient),  # more than max_user_connections
        (1406, Refused),  # too long
        (1142, NeedsOperator),  # no right
        (1146, NeedsOperator),  # no table
        (2013, Transient),  # lost the connection
    ],
)
def test_each_error_of_mariadb_is_told_from_others(number: int, kind: type[Failure]) -> None:
    """By its number."""
    with pytest.raises(Failure) as caught, as_failures("rows"):
        raise exc.OperationalError("", {}, pymysql.err.OperationalError(number, "words"))
    assert type(caught.value) is kind
    assert ("cannot be reached" in str(caught.value)) is (number == 2013)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("57014", Busy),
        ("25006", Transient),  # no writes, as while another becomes primary
        ("53100", Transient),  # disk full
        ("53300", Transient),  # too many connections
        ("58030", Transient),  # the disk fails
        ("42501", NeedsOperator),  # no right
        ("42P01", NeedsOperator),  # no table
    ],
)
def test_each_error_of_postgresql_is_told_from_others(state: str, kind: type[Failure]) -> None:
    """By its SQLSTATE."""
    error = psycopg.errors.lookup(state)("words")
    with pytest.raises(Failure) as caught, as_failures("rows"):
        raise exc.DBAPIError.instance("", {}, error, psycopg.Error)
    assert type(caught.value) is kind
    assert "cannot be reached" not in str(caught.value)


def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    """Then there is no SQLSTATE."""
    error = psycopg.OperationalError("connection refused")
    with pytest.raises(Transient, match="rows cannot be reached: conn"), as_failures("rows"):
        raise exc.DBAPIError.instance("", {}, error, psycopg.Error)


def test_each_error_of_sqlite_is_told_from_others(tmp_path: Path) -> None:
    """A table that is gone does not come back by itself; a disk may have room again."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table t (v blob)")
        database.commit()
    engine = sa.create_engine(f"sqlite:///{path}")

    def said(*statements: str) -> Failure:
        try:
            with as_failures("rows"), engine.begin() as connection:
                for each in statements:
                    connection.exec_driver_sql(each)
        except Failure as failure:
            return failure
        raise AssertionError(statements)

    gone = said("select * from u")
    assert (type(gone), str(gone)) == (NeedsOperator, "rows: no such table: u")
    full = said("pragma max_page_count = 3", "insert into t values (zeroblob(100000))")
    assert (type(full), str(full)) == (
        Transient,
        "rows does not work now: database or disk is full",
    )
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin exclusive")
        assert type(said("pragma busy_timeout = 1", "insert into t values (1)")) is Busy
    engine.dispose()
    path.write_bytes(b"no database " * 100)
    assert type(said("select * from t")) is NeedsOperator
    path.unlink()
    path.mkdir()
    engine.dispose()
    away = said("select * from t")
    assert (type(away), "cannot be reached" in str(away)) == (Transient, True)
