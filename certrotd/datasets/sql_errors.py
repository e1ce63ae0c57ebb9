"""What a database says, as a Failure: without parameters, and so without any value."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from certrotd.datasets.port import Busy, Refused
from certrotd.errors import Failure, NeedsOperator, Transient

_BUSY = {"40001", "40P01", "55P03", "57014"}
"""PostgreSQL: a serialization failure, a deadlock, a lock or a statement that took too long."""
_AWAY = ("08", "57P", "53", "58", "25006", "25P03")
"""PostgreSQL: the connection broke, the server stops, it is short of something, its disk fails, it
takes no writes (as while another becomes primary), or it ended an idle transaction."""
_SQLITE_BUSY = {5, 6, 9}
"""SQLite: another has the lock, or the statement was interrupted."""
_SQLITE_AWAY = {7, 8, 10, 13, 14}
"""SQLite: no memory, no writes, the disk fails or is full, the file cannot be opened."""
_MARIADB_BUSY = {1020, 1205, 1206, 1213, 1317, 1412, 1969, 3024}
"""MariaDB: changed since it was read, a lock, a deadlock, a table that somebody alters, a statement
that took too long, or that somebody ended."""
_MARIADB_AWAY = {
    *(1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1927, 3169, 4031),
    *(3, 1021, 1026, 1030, 1114, 1180, 1047, 1290, 1792, 1836),
}
"""MariaDB: too many connections, the server stops, the connection broke (so are 2000 to 2999); its
disk is full, it is not part of its cluster (Galera), or takes no writes."""
_REFUSED = {"P0001", "54000"}
"""PostgreSQL: a trigger does not want it, or it is too long for an index."""
_MARIADB_REFUSED = {
    *(1062, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 1586, 1761, 3819, 4025),
    *(1118, 1153, 1644),
}
"""MariaDB: a value is there already, does not fit, is against a constraint, or a trigger's wish."""
_VALUE = re.compile(r"(entry|value:?) '(?:.*'(?= for )|.*'$)", re.DOTALL)
"""MariaDB: a value of a row in a message."""


@contextmanager
def as_failures(what: str) -> Iterator[None]:
    """Raises Busy, Transient or NeedsOperator for what SQLAlchemy raises within."""
    try:
        yield
    except exc.DBAPIError as error:
        raise _failure(error, what) from None
    except UnicodeError:
        raise NeedsOperator(f"{what}: there is text that is not of its character set") from None
    except exc.SQLAlchemyError as error:
        raise NeedsOperator(f"{what}: {type(error).__name__}") from None


def _failure(error: exc.DBAPIError, what: str) -> Failure:
    words, kind = _words(error), _kind(error)
    if kind is Busy:
        return Busy(f"{what} is busy: {words}")
    if error.connection_invalidated or (kind is Transient and not _answers(error)):
        return Transient(f"{what} cannot be reached: {words}")
    if kind is Transient:
        return Transient(f"{what} does not work now: {words}")
    return kind(f"{what}: {words}")


def _answers(error: exc.DBAPIError) -> bool:
    """Whether the database itself said what is wrong."""
    if (code := _sqlite_code(error)) is not None:
        return code != sqlite3.SQLITE_CANTOPEN
    if state := _state(error):
        return not state.startswith(("08", "57P"))
    number = _number(error)
    return number is not None and number < 2000


def _kind(error: exc.DBAPIError) -> type[Failure]:
    if (number := _number(error)) is not None:
        if number in _MARIADB_BUSY:
            return Busy
        if number in _MARIADB_REFUSED:
            return Refused
        away = number in _MARIADB_AWAY or 2000 <= number < 3000
        return Transient if away else NeedsOperator
    if (code := _sqlite_code(error)) in _SQLITE_BUSY:
        return Busy
    if code in _SQLITE_AWAY:
        return Transient
    state = _state(error)
    if state in _BUSY:
        return Busy
    if isinstance(error, exc.IntegrityError | exc.DataError) or state in _REFUSED:
        return Refused
    away = isinstance(error, exc.OperationalError | exc.InterfaceError) and not state
    away = away and code is None
    return Transient if away or state.startswith(_AWAY) else NeedsOperator


def _sqlite_code(error: exc.DBAPIError) -> int | None:
    """That of an error of SQLite; the upper bits, which say more of the same, are left out."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _state(error: exc.DBAPIError) -> str:
    """The SQLSTATE of an error of PostgreSQL."""
    return getattr(error.orig, "sqlstate", None) or ""


def _number(error: exc.DBAPIError) -> int | None:
    """That of an error of MariaDB."""
    told = error.orig.args if error.orig is not None else ()
    return told[0] if told and isinstance(told[0], int) else None


def _words(error: exc.DBAPIError) -> str:
    """The first line of what the database said; values, which it may hold, are left out."""
    diagnosis = getattr(error.orig, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    if _number(error) is not None and error.orig is not None:
        primary = _VALUE.sub(r"\1", str(error.orig.args[-1]))
    lines = str(primary or error.orig).splitlines()
    return lines[0] if lines else type(error.orig).__name__
