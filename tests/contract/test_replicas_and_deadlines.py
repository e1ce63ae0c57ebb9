"""Re-encryption beside real replicas that lag, and databases that answer no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.datasets import connecting
from certrotd.datasets.configured import Opened, opened
from certrotd.datasets.port import Busy
from certrotd.datasets.reencryption import Pass
from certrotd.errors import NeedsOperator, Transient
from tests.contract.kek_rigs import Part
from tests.parts import Parts
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PASSWORD, PostgreSQL, PostgreSQLReplica
from tests.parts.process import wait_until
from tests.unit.datasets.test_values import TINK, key_of, keys_of

pytestmark = pytest.mark.integration
ROWS = 200
Server = PostgreSQL | MariaDB


@pytest.fixture(scope="module")
def postgresql(module_parts: Parts) -> tuple[PostgreSQL, PostgreSQLReplica]:
    """A primary and its replica."""
    primary = module_parts.start(PostgreSQL)
    return primary, module_parts.start(PostgreSQLReplica, primary)


@pytest.fixture(scope="module")
def mariadb(module_parts: Parts) -> tuple[MariaDB, MariaDB]:
    """A primary and its replica."""
    primary, replica = module_parts.start(MariaDB), module_parts.start(MariaDB)
    replica.replicate(primary)
    return primary, replica


@pytest.fixture(params=["asked", "told by the primary", "mariadb"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, Server]:
    """A primary and its replica, however that is looked at."""
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    name = "mariadb" if request.param == "mariadb" else "postgresql"
    found: tuple[Server, Server] = request.getfixturevalue(name)
    return found


def entry(server: Server, **more: object) -> SqlDatasetEntry:
    told = {"type": "sql", "url": server.url(), "table": "t", "columns": ["v"], "batch": 10}
    return SqlDatasetEntry.model_validate(told | {"password": {"env": "DATABASE_PASSWORD"}} | more)


def execute(server: Server, sql: str, *told: object) -> list[Any]:
    database = "postgres" if isinstance(server, PostgreSQL) else "mysql"
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(sql, told or None)
        return list(cursor.fetchall()) if cursor.description else []


def filled(server: Server) -> None:
    """The table, under the first key."""
    kind = "bytea" if isinstance(server, PostgreSQL) else "varbinary(200)"
    execute(server, "drop table if exists t")
    execute(server, f"create table t (id integer primary key, v {kind})")
    values = [(n, TINK.encrypt(b"x", key_of(TINK, 1))) for n in range(ROWS)]
    told = ", ".join(["(%s, %s)"] * ROWS)
    execute(server, f"insert into t values {told}", *(part for row in values for part in row))


@contextmanager
def standing_still(server: Server) -> Iterator[None]:
    """A replica that receives what its primary writes, and applies nothing."""
    is_postgresql = isinstance(server, PostgreSQL)
    pause, resume = "stop slave sql_thread", "start slave sql_thread"
    if is_postgresql:
        pause, resume = "select pg_wal_replay_pause()", "select pg_wal_replay_resume()"
    execute(server, pause)
    if is_postgresql:
        state = "select pg_get_wal_replay_pause_state()"
        wait_until(lambda: execute(server, state) == [("paused",)])
    try:
        yield
    finally:
        execute(server, resume)


def test_a_pass_rests_while_a_replica_is_behind(
    pair: tuple[Server, Server], request: pytest.FixtureRequest
) -> None:
    """It goes on by itself, once the replica has everything."""
    primary, replica = pair
    filled(primary)
    wait_until(lambda: bool(execute(replica, "select 1")))
    by_primary = request.node.callspec.params["pair"].startswith("told")
    more = {} if by_primary else {"replicas": [replica.url()]}
    with opened("t", entry(primary, replica_lag_ms=300, **more)) as place:
        lag = place.replicas
        assert lag is not None
        wait_until(lambda: lag.excess(SystemClock()) is None)
        with standing_still(replica):
            execute(primary, "insert into t values (%s, null)", ROWS)
            wait_until(lambda: lag.excess(SystemClock()) is not None)
            found = lag.excess(SystemClock())
            assert found is not None
            assert found.seconds > 0.3
            assert "canary" not in found.words
        wait_until(lambda: lag.excess(SystemClock()) is None)


def test_what_is_no_replica_is_refused(
    postgresql: tuple[PostgreSQL, PostgreSQLReplica],
    mariadb: tuple[MariaDB, MariaDB],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And an account that may not see where the replicas are is told what it lacks."""
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    for primary, _ in (postgresql, mariadb):
        told = entry(primary, replica_lag_ms=300, replicas=[primary.url()])
        with opened("t", told) as place, pytest.raises(NeedsOperator, match="is no replica"):
            place.replicas.excess(SystemClock())  # type: ignore[union-attr]
    primary, _ = postgresql
    execute(primary, f"create role reader login password '{PASSWORD}'")
    told = entry(primary, replica_lag_ms=300, url=primary.url(user="reader"))
    with opened("t", told) as place, pytest.raises(NeedsOperator, match="does not show") as failed:
        place.replicas.excess(SystemClock())  # type: ignore[union-attr]
    assert "pg_monitor" in failed.value.hint
    execute(primary, "grant pg_monitor to reader")
    with opened("t", told) as place:
        place.replicas.excess(SystemClock())  # type: ignore[union-attr]


@pytest.fixture(params=[PostgreSQL, MariaDB])
def stopped(
    request: pytest.FixtureRequest, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Server, Callable[[], None]]]:
    """A server, and what stops all of its processes, which still have their connections."""
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    monkeypatch.setattr(connecting, "GRACE", 0.5)
    server: Server = parts.start(request.param)
    stopped: list[int] = []

    def stop() -> None:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        for pid in (server.pid, *map(int, children)):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    try:
        yield server, stop
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_a_database_that_hangs_holds_nothing_up(
    stopped: tuple[Server, Callable[[], None]],
) -> None:
    """In the middle of a pass; what it did not say counts as a database that is away."""
    server, stop = stopped
    filled(server)
    batches = 0

    def before() -> None:
        nonlocal batches
        batches += 1
        if batches == 6:
            stop()

    with (
        opened("t", entry(server, timeout="1s")) as place,
        pytest.raises(Transient, match="cannot be reached"),
    ):
        passing(place, before).run()


def test_a_statement_that_takes_too_long_is_ended_by_the_server(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stays, and the batch can be tried again."""
    monkeypatch.setenv("DATABASE_PASSWORD", PASSWORD)
    for kind, slow in ((PostgreSQL, "pg_sleep(30) is null"), (MariaDB, "sleep(30) = 0")):
        server = part(kind)
        filled(server)
        with opened("t", entry(server, timeout="1s", where=slow)) as place, pytest.raises(Busy):
            place.dataset.remaining(())
        with opened("t", entry(server, timeout="1s")) as place:
            assert place.dataset.remaining(()) == ROWS


def passing(place: Opened, before: Callable[[], None] = lambda: None) -> Pass:
    clock, pace = SystemClock(), replace(place.pace, batch=10)
    return Pass(place.dataset, place.form, keys_of(TINK), clock, pace, before)
