"""What a database says, as a Failure: without parameters, and so without any value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from certrotd.datasets.port import Busy
from certrotd.errors import Failure, NeedsOperator, Transient

_BUSY = {"40001", "40P01", "55P03", "57014"}
"""PostgreSQL: a serialization failure, a deadlock, a lock or a statement that took too long."""
_LOCKED = ("database is locked", "database table is locked")
_AWAY = ("08", "57P", "53")
"""PostgreSQL: the connection broke, the server stops, it is short of something."""


@contextmanager
def as_failures(what: str) -> Iterator[None]:
    """Raises Busy, Transient or NeedsOperator for what SQLAlchemy raises within."""
    try:
        yield
    except exc.DBAPIError as error:
        raise _failure(error, what) from None
    except exc.SQLAlchemyError as error:
        raise NeedsOperator(f"{what}: {type(error).__name__}") from None


def _failure(error: exc.DBAPIError, what: str) -> Failure:
    words, state = _words(error), getattr(error.orig, "sqlstate", None) or ""
    if state in _BUSY or any(each in words for each in _LOCKED):
        return Busy(f"{what} is busy: {words}")
    away = isinstance(error, exc.OperationalError | exc.InterfaceError) and not state
    if error.connection_invalidated or away or state.startswith(_AWAY):
        return Transient(f"{what} cannot be reached: {words}")
    return NeedsOperator(f"{what}: {words}")


def _words(error: exc.DBAPIError) -> str:
    """The first line of what the database said; details, which may hold values, are left out."""
    diagnosis = getattr(error.orig, "diag", None)
    primary = getattr(diagnosis, "message_primary", None)
    lines = str(primary or error.orig).splitlines()
    return lines[0] if lines else type(error.orig).__name__
