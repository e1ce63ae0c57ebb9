"""Where the replicas of PostgreSQL and MariaDB are, in the log of their primary."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from certrotd.datasets.replica_lag import Position, Replication
from certrotd.datasets.sql_dialect import Dialect
from certrotd.datasets.sql_errors import as_failures
from certrotd.datasets.sql_postgresql import PostgreSQL
from certrotd.errors import NeedsOperator, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Engine

_ON_PRIMARY = """
select concat_ws(' ', application_name, client_addr), replay_lsn - '0/0'::pg_lsn
from pg_stat_replication
where state is distinct from 'backup' and state is distinct from 'startup'
order by 2
"""


class _Asked:
    """A primary, and replicas that are asked themselves, by their names for people."""

    def __init__(self, primary: Engine, replicas: Mapping[str, Engine]) -> None:
        self._primary = primary
        self._replicas = replicas

    @contextmanager
    def _connected(self, name: str | None = None) -> Iterator[Connection]:
        what = "the primary" if name is None else f"the replica {name}"
        engine = self._primary if name is None else self._replicas[name]
        with as_failures(what), engine.begin() as connection:
            yield connection


class PostgreSQLReplication(_Asked):
    """Positions are bytes of the write-ahead log; without replicas, the primary tells of its own.

    A logical subscriber is one of those, too.
    """

    def written(self) -> Position:
        """As Replication.written."""
        with self._connected() as connection:
            at = connection.execute(sa.text("select pg_current_wal_lsn() - '0/0'::pg_lsn"))
            return {"": int(at.scalar_one())}

    def applied(self) -> Mapping[str, Position]:
        """As Replication.applied."""
        if not self._replicas:
            return self._told_by_primary()
        found: dict[str, Position] = {}
        for name in self._replicas:
            with self._connected(name) as connection:
                query = "select pg_last_wal_replay_lsn() - '0/0'::pg_lsn"
                at = connection.execute(sa.text(query)).scalar_one()
            if at is None:
                raise _no_replica(name)
            found[name] = {"": int(at)}
        return found

    def _told_by_primary(self) -> Mapping[str, Position]:
        with self._connected() as connection:
            told = connection.execute(sa.text(_ON_PRIMARY)).all()
        if not told:
            raise Transient(
                "no replica is connected to the primary", hint="or take replica_lag_ms out"
            )
        if any(at is None for _, at in told):
            raise NeedsOperator(
                "the primary does not show this account where its replicas are",
                hint="grant pg_monitor to it, or name the replicas under replicas",
            )
        return {name: {"": int(at)} for name, at in reversed(told)}  # the last of one name


class MariaDBReplication(_Asked):
    """Positions are global transaction ids, which MariaDB has with any kind of replication."""

    def written(self) -> Position:
        """As Replication.written."""
        with self._connected() as connection:
            at = connection.execute(sa.text("select @@global.gtid_binlog_pos")).scalar_one()
        if not at:
            raise NeedsOperator("the primary writes no binary log, and so has no replica")
        return gtid(str(at))

    def applied(self) -> Mapping[str, Position]:
        """As Replication.applied."""
        found: dict[str, Position] = {}
        for name in self._replicas:
            with self._connected(name) as connection:
                at = connection.execute(sa.text("select @@global.gtid_slave_pos")).scalar_one()
            if not at:
                raise _no_replica(name)
            found[name] = gtid(str(at))
        return found


def replication(dialect: Dialect, primary: Engine, replicas: Mapping[str, Engine]) -> Replication:
    """The primary and its replicas, by their names for people."""
    kind = PostgreSQLReplication if isinstance(dialect, PostgreSQL) else MariaDBReplication
    return kind(primary, replicas)


def gtid(text: str) -> Position:
    """The sequence number of each domain in a list of ids such as 0-1-123."""
    parts = (each.strip().split("-") for each in text.split(","))
    return {domain: int(number) for domain, _server, number in parts}


def _no_replica(name: str) -> NeedsOperator:
    return NeedsOperator(
        f"{name} is no replica, or has replicated nothing yet", hint="see replicas of the dataset"
    )
