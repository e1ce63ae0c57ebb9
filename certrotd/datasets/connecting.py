"""Engines of SQLAlchemy for the databases of datasets; no password is in a URL or a message."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from certrotd.errors import NeedsOperator
from certrotd.extras import how_to_install

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

    from certrotd.datasets.sql_dialect import Dialect

CONNECT_SECONDS = 10
LOCK_SECONDS = 5
SQLITE_SECONDS = 20
TIMEOUT = 600.0
GRACE = 5.0
"""So many seconds later than the server, certrotd gives a statement up."""
_SESSION = {
    # no value is cut to fit; a date of zeros stays one where a row is written as it is
    "sql_mode": "'STRICT_ALL_TABLES,ALLOW_INVALID_DATES'",
    "time_zone": "'+00:00'",  # else the hour that comes twice in autumn is not written as it is
    "innodb_lock_wait_timeout": "{seconds}",
    "lock_wait_timeout": "{seconds}",
}
Password = Callable[[], bytes | None]


@contextmanager
def engine_of(
    url: str, password: Password, *, what: str, timeout: float = TIMEOUT
) -> Iterator[tuple[Engine, Dialect]]:
    """An engine and what its database is like, closed at the end; raises NeedsOperator.

    A statement takes no longer than ``timeout``, in seconds: the server ends it, and if the server
    is silent, the connection is closed soon after.
    """
    try:
        from sqlalchemy.engine import make_url

        parsed = make_url(url)
        if parsed.drivername == "sqlite":
            engine, dialect = _sqlite(parsed)
        elif parsed.drivername in ("mariadb", "mysql"):
            engine, dialect = _mariadb(parsed, password(), timeout)
        else:
            engine, dialect = _postgresql(parsed, password(), timeout)
    except ModuleNotFoundError as error:
        raise NeedsOperator(
            f"{what} needs {error.name}, which is not installed", hint=how_to_install("sql")
        ) from None
    try:
        yield engine, dialect
    finally:
        engine.dispose()


def tables_there(
    url: str, password: Password, tables: Collection[str], *, what: str
) -> frozenset[str]:
    """Which of the tables the database has; raises Failure."""
    with engine_of(url, password, what=what) as (engine, _):
        import sqlalchemy as sa

        from certrotd.datasets.sql_errors import as_failures

        with as_failures(what):
            looked = sa.inspect(engine)
            return frozenset(each for each in tables if looked.has_table(each))


def _sqlite(url: URL) -> tuple[Engine, Dialect]:
    """A file that is there: a path that is wrong makes no empty database."""
    import sqlalchemy as sa

    from certrotd.datasets.sql_dialect import Sqlite

    def connect() -> sqlite3.Connection:
        path = f"file:{quote(url.database or '')}?mode=rw"
        try:
            made = sqlite3.connect(path, uri=True, timeout=SQLITE_SECONDS, check_same_thread=False)
        except sqlite3.OperationalError as error:  # which does not say which file
            error.args = (f"{error}: {url.database}",)
            raise
        made.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        return made

    return sa.create_engine("sqlite://", creator=connect, hide_parameters=True), Sqlite()


def _postgresql(url: URL, password: bytes | None, timeout: float) -> tuple[Engine, Dialect]:
    import sqlalchemy as sa
    from psycopg.pq import Format
    from psycopg.types.array import ListBinaryDumper

    from certrotd.datasets.postgresql_arrays import register
    from certrotd.datasets.sql_postgresql import IN_BINARY, PostgreSQL
    from certrotd.postgresql_driver import PatientConnection

    url = url.set(drivername="postgresql+psycopg")
    if password is not None:
        url = url.set(password=password.decode())
    arguments: dict[str, Any] = {"prepare_threshold": None}  # a pooler may be in between
    for name, value in (("connect_timeout", CONNECT_SECONDS), ("application_name", "certrotd")):
        if name not in url.query:
            arguments[name] = value
    engine = sa.create_engine(
        url, hide_parameters=True, isolation_level="READ COMMITTED", connect_args=arguments
    )

    @sa.event.listens_for(engine, "do_connect")
    def _connected(_dialect: object, _record: object, told: Any, named: Any) -> PatientConnection:
        connection = PatientConnection.connect(*told, **named)
        connection.seconds = timeout + GRACE
        encoding = connection.info.parameter_status("client_encoding")
        if encoding == "SQL_ASCII":  # text is whatever it is
            connection.execute("set client_encoding to 'UTF8'")
            connection.commit()
        return connection

    @sa.event.listens_for(engine, "connect")
    def _limited(connection: Any, _record: object) -> None:
        # arrays of text would be escaped byte by byte
        connection.adapters.register_dumper(list, ListBinaryDumper)
        register(connection)
        with connection.cursor() as cursor:  # nobody waits long for a row that we wait for
            cursor.execute(f"set lock_timeout = '{LOCK_SECONDS}s'")
            cursor.execute(f"set statement_timeout = {round(timeout * 1000)}")
        connection.commit()

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _as_asked(
        _connection: object, cursor: Any, _sql: str, _told: object, context: Any, _many: bool
    ) -> None:
        if context is not None and context.execution_options.get(IN_BINARY):
            cursor.format = Format.BINARY

    return engine, PostgreSQL()


def _mariadb(url: URL, password: bytes | None, timeout: float) -> tuple[Engine, Dialect]:
    import pymysql  # noqa: F401  # named if it is not there
    import sqlalchemy as sa

    from certrotd.datasets.sql_mariadb import MariaDB

    arguments: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "charset": "utf8mb4"}
    arguments |= dict.fromkeys(("read_timeout", "write_timeout"), timeout + GRACE)
    if password is not None:
        arguments["password"] = password
    engine = sa.create_engine(
        url.set(drivername="mysql+pymysql"),
        hide_parameters=True,
        isolation_level="READ COMMITTED",  # a batch reads what others committed, and locks no gaps
        connect_args=arguments,
    )

    @sa.event.listens_for(engine, "connect")
    def _limited(connection: Any, _record: object) -> None:
        told = ", ".join(f"session {name} = {value}" for name, value in _SESSION.items())
        with connection.cursor() as cursor:
            cursor.execute(f"set {told.format(seconds=LOCK_SECONDS)}")
            if "mariadb" in connection.get_server_info().lower():  # MySQL ends only SELECT
                cursor.execute(f"set session max_statement_time = {timeout}")

    return engine, MariaDB()
