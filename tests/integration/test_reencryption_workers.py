"""Workers of Dask re-encrypt a real table; one is killed, and nothing shows that it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed.security import Security

from certrotd.errors import NeedsOperator, Transient
from certrotd.workers import dask_workers
from certrotd.workers.dask_workers import DaskWorkers
from tests.integration import test_reencryption
from tests.integration.test_reencryption import DATABASE, ROWS, Application, counts
from tests.parts.mariadb import MariaDB
from tests.parts.postgresql import PostgreSQL
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site, Started

pytestmark = pytest.mark.integration
LONG = 300.0
"""Each worker imports everything that certrotd does."""
application = test_reencryption.application
"""A table under a key that was replaced."""


def children(pid: int) -> list[int]:
    """The processes that multiprocessing has started for that one, however far down."""
    found = []
    for each in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{each}/stat") as stat, open(f"/proc/{each}/cmdline") as line:
                parent, command = int(stat.read().rpartition(")")[2].split()[1]), line.read()
        except OSError:
            continue
        if parent == pid:
            found += [int(each)] * ("spawn_main" in command) + children(int(each))
    return found


def holders(application: Application) -> list[int]:
    """The processes that have a shard now, by the table."""
    sql = "select holder from certrotd_checkpoints where state = 'open' and held_until > 0"
    with application.server.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return [int(each[0].rpartition(":")[2]) for each in cursor if each[0]]


def kill_one(started: Started, chosen: Callable[[], list[int]]) -> None:
    """SIGKILL of a worker."""
    wait_until(lambda: started.is_over or bool(chosen()), within=LONG)
    assert not started.is_over, started.end()
    os.kill(chosen()[0], signal.SIGKILL)


@pytest.mark.parametrize(
    ("application", "where"),
    [(PostgreSQL, "table"), (MariaDB, "journal")],
    indirect=["application"],
)
def test_four_workers_of_which_one_is_killed_do_as_one_process_does(
    site: Site, application: Application, where: str
) -> None:
    """Every plaintext is there under the new key, no neighbour changed, and the census is told."""
    new, old = application.key(), application.key(old=True)
    dataset = site.config["keyrings"]["orders"]["datasets"]["customers"]
    dataset |= {"checkpoints": where, "batch": 100, "rows_per_second": ROWS // 4}
    with application:
        started = site.start("keys", "reencrypt", "orders", "--workers", "4", "--json")
        wait_until(lambda: started.is_over or len(children(started.pid)) == 4, within=LONG)
        before = application.under(old)
        less = before - ROWS // 5
        wait_until(lambda: started.is_over or application.under(old) < less, within=LONG)
        if where == "table":
            kill_one(started, lambda: holders(application))
        else:
            kill_one(started, lambda: children(started.pid))
        ran = started.end(within=LONG)
    assert ran.code == 0, ran
    assert application.stored(new) == application.written
    assert application.under(old) == 0
    values = sum(each is not None for stored in application.written.values() for each in stored[:2])
    assert counts(site) == {1: 0, 2: values}
    assert site.run("rotate", "key/orders").code == 0
    states = site.run("keys", "list", "--json").row("orders")["versions"]
    assert [each["state"] for each in states] == ["retired", "active"]


@pytest.mark.parametrize("application", [PostgreSQL], indirect=True)
def test_a_stop_leaves_no_worker_and_one_process_goes_on(
    site: Site, application: Application
) -> None:
    """Nobody has a shard then; also without Dask, it begins where they were."""
    new = application.key()
    dataset = site.config["keyrings"]["orders"]["datasets"]["customers"]
    dataset |= {"checkpoints": "table", "batch": 100, "rows_per_second": 1000, "shards": 3}
    started = site.start("keys", "reencrypt", "orders", "--workers", "2")
    wait_until(lambda: started.is_over or application.under(new) > 500, within=LONG)
    workers = children(started.pid)
    assert len(workers) == 2
    started.signal()
    ran = started.end(within=LONG)
    assert "the process was told to stop" in ran.stdout + ran.stderr, ran
    assert "Traceback" not in ran.stderr
    wait_until(lambda: not any(os.path.exists(f"/proc/{each}") for each in workers))
    assert holders(application) == []
    done = application.under(new)
    assert 500 < done < ROWS
    dataset["rows_per_second"] = None
    ran = site.run("rotate", "key/orders")
    assert ran.code == 0, ran
    assert application.stored(new) == application.written


def test_a_scheduler_with_certificates_has_its_workers_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Dask's own settings; without a certificate nothing is sent."""
    monkeypatch.setattr(dask_workers, "FOUND_WITHIN", int(LONG))
    made_for_it = Security.temporary()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(made_for_it.tls_client_cert)  # of itself
    key.write_text(made_for_it.tls_client_key)
    ca = certificate
    options = [f"--tls-ca-file={ca}", f"--tls-cert={certificate}", f"--tls-key={key}"]
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    told = ["--protocol=tls", "--host=127.0.0.1", f"--port={port}", "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *told, *options]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", *options]
    settings = {
        "distributed.comm.tls.ca-file": str(ca),
        "distributed.comm.tls.client.cert": str(certificate),
        "distributed.comm.tls.client.key": str(key),
    }
    with ExitStack() as stack:
        started = []
        for each in (scheduler, [*worker, "--no-dashboard"]):
            made = subprocess.Popen(each, stderr=subprocess.DEVNULL, cwd=tmp_path)
            stack.callback(made.wait)
            stack.callback(made.kill)
            started.append(made)
        with dask.config.set(settings), DaskWorkers(os.getpid, address=address) as workers:
            assert workers.count == 1
            workers.call("mine")
            found: list[Any] = []

            def has_ended() -> bool:
                found.extend(workers.ended())
                return bool(found)

            wait_until(has_ended, within=LONG)
            assert found == [("mine", started[1].pid)]
            started[1].kill()
            wait_until(lambda: workers.count == 0, within=LONG)
        with pytest.raises(NeedsOperator), DaskWorkers(os.getpid, address=address):
            pass


def test_a_scheduler_that_dies_has_no_workers_and_takes_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the pass ends in words, and goes on later."""
    monkeypatch.setattr(dask_workers, "CLOSED_WITHIN", 5)
    address = f"tcp://127.0.0.1:{free_port()}"
    told = ["--host=127.0.0.1", f"--port={address.rpartition(':')[2]}", "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *told]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"]
    with ExitStack() as stack:
        started = []
        for each in (scheduler, [*worker, "--no-dashboard"]):
            made = subprocess.Popen(each, stderr=subprocess.DEVNULL, cwd=tmp_path)
            stack.callback(made.wait)
            stack.callback(made.kill)
            started.append(made)
        monkeypatch.setattr(dask_workers, "FOUND_WITHIN", int(LONG))
        with DaskWorkers(time.sleep, address=address) as workers:
            workers._client._timeout = 1.0  # so long it looks for its scheduler again
            workers.call("long", LONG)
            started[0].kill()
            found: list[Any] = []

            def has_ended() -> bool:
                found.extend(workers.ended())
                return bool(found)

            wait_until(has_ended, within=LONG)
            [(_, failure)] = found
            assert isinstance(failure, Transient)
            wait_until(lambda: workers.count == 0, within=LONG)

            def is_refused() -> bool:
                with suppress(Transient):
                    workers.call("more", 1)
                    return False
                return True

            wait_until(is_refused, within=LONG)


def test_a_scheduler_without_tls_elsewhere_is_refused(site: Site) -> None:
    """Before anything is done; so is a worker's shard that is none."""
    site.config["keyrings"] = {"orders": {}}
    ran = site.run("keys", "reencrypt", "orders", "--dask", "tcp://scheduler.example.com:8786")
    assert ran.code == 2
    assert "without TLS: whoever reaches it runs programs on every worker" in ran.stderr
    ran = site.run("keys", "reencrypt", "orders", "--dask", "tls://x:1", "--workers", "4")
    assert ran.code == 2
    assert "give one of them" in ran.stderr
    for shard in ("x", "3/x", "-1"):
        ran = site.run("keys", "reencrypt", "orders", f"--shard={shard}")
        assert (ran.code, "the fourth of 16 is 3/16" in ran.stderr) == (2, True), ran
    assert site.run("keys", "reencrypt", "orders", "--shard=1", "--workers=2").code == 2
