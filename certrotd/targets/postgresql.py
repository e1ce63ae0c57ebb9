"""Target ``postgresql``: a server reads its certificate again, by pg_reload_conf().

Sessions go on as they are; connections that come later see the new certificate. What PostgreSQL
cannot use it leaves alone, and says so in its log only: the probe tells.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.services import PostgresqlEntry
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.extras import how_to_install

if TYPE_CHECKING:
    import psycopg

    from certrotd.postgresql_driver import PatientConnection

_SETTINGS = "select name, setting from pg_settings where name = any(%s)"
_ASKED = ["ssl", "ssl_key_file", "data_directory"]
_MAY = "select has_function_privilege('pg_reload_conf()', 'execute')"
_PASSES = ("08", "53", "57")
"""Classes of errors: connection, resources, somebody stops the server (PostgreSQL, appendix A)."""
_INSTALL = 'install it for PostgreSQL, with owner: postgres and mode: "0600"'


@dataclass(frozen=True)
class PostgresqlTarget:
    """The server at ``url``, which holds no password; ``password`` gives it, if there is one.

    ``timeout`` is in seconds for each request.
    """

    url: str
    password: Callable[[], str | None] = field(default=lambda: None, repr=False)
    timeout: float = 30.0

    def precheck(self) -> None:
        """As Precheck.precheck: what speaks to it is installed, and its password can be read."""
        self.password()
        _driver()

    def check(self) -> None:
        """As Target.check: it serves TLS, would take the key, and lets certrotd tell it."""
        with self._connected() as connection:
            _look(connection)
            row = connection.execute(_MAY).fetchone()
            if not row or not row[0]:
                user = connection.info.user
                raise NeedsOperator(
                    f"PostgreSQL does not let {user} reload it",
                    hint=f"grant execute on function pg_reload_conf() to {user}",
                )

    def apply(self) -> None:
        """As Target.apply: that it took the files is for the probe to say."""
        with self._connected() as connection:
            _look(connection)
            row = connection.execute("select pg_reload_conf()").fetchone()
            if not row or not row[0]:
                raise Transient("PostgreSQL could not tell its first process to reload")

    @contextmanager
    def _connected(self) -> Iterator[PatientConnection]:
        password = self.password()
        driver = _driver()
        import psycopg

        try:
            with driver.connect(
                self.url,
                password=password,
                connect_timeout=max(2, int(self.timeout)),
                application_name="certrotd",
                client_encoding="utf8",  # else those of SQL_ASCII would answer in bytes
                autocommit=True,
            ) as connection:
                connection.seconds = self.timeout
                yield connection
        except psycopg.Error as error:
            raise _failure(error) from None


def _driver() -> type[PatientConnection]:
    try:
        from certrotd.postgresql_driver import PatientConnection
    except ModuleNotFoundError as error:
        raise NeedsOperator(
            f"the target needs {error.name}, which is not installed", hint=how_to_install("sql")
        ) from None
    return PatientConnection


def _failure(error: psycopg.Error) -> Failure:
    words = str(error.diag.message_primary or error).splitlines() or [type(error).__name__]
    state = error.sqlstate
    if state is None or state[:2] in _PASSES:  # of connecting: nobody says whose fault it is
        return Transient(f"PostgreSQL cannot be asked: {words[0]}")
    return NeedsOperator(f"PostgreSQL refuses: {words[0]}")


def _look(connection: PatientConnection) -> None:
    """Whether it serves TLS, and would take the key that is in its file now."""
    shown = dict(connection.execute(_SETTINGS, [_ASKED]).fetchall())
    if shown.get("ssl") != "on":
        raise NeedsOperator("PostgreSQL serves no TLS: ssl is off", hint="set ssl = on")
    if found := key_refusal(shown):
        raise NeedsOperator(f"PostgreSQL would not take its key: {found[0]}", hint=found[1])


def key_refusal(
    shown: Mapping[str, str], *, status: Callable[[str], os.stat_result] = os.stat
) -> tuple[str, str] | None:
    """Why a server with these settings would not take the key in its file, and what to do.

    None if it would, or if the file is not on this host (PostgreSQL, "Creating Certificates").
    """
    home, file = shown.get("data_directory", ""), shown.get("ssl_key_file", "")
    path = os.path.join(home, file)
    if not os.path.isabs(path):
        return None  # without pg_read_all_settings it does not say where
    try:
        key = status(path)
    except OSError:
        return None
    server = key.st_uid
    with suppress(OSError):
        server = status(home).st_uid if home else server
    mode = f"{path} has the mode {stat.S_IMODE(key.st_mode):04o}"
    if key.st_uid not in (server, 0):
        why = f"{path} is user {key.st_uid}'s, and must be user {server}'s or root's"
        return why, _INSTALL
    if key.st_uid != 0 and key.st_mode & 0o077:
        return f"{mode}: nobody but its owner may have any access", _INSTALL
    if key.st_uid == 0 and key.st_mode & 0o037:
        return f"{mode}: of a file of root's its group may read it, and nobody else", _INSTALL
    if key.st_uid == 0 and server != 0 and not key.st_mode & 0o040:
        return f"{mode}, and is root's: the server cannot read it", _INSTALL
    return None


def build(entry: PostgresqlEntry, context: Context) -> PostgresqlTarget:  # noqa: ARG001
    """The target of a configuration entry; its password is read whenever it is used."""
    secret = entry.password
    return PostgresqlTarget(
        entry.url,
        (lambda: None) if secret is None else (lambda: reveal({"password": secret})["password"]),
        entry.timeout.total_seconds(),
    )
