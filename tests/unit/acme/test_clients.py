"""Connections to one CA, shared by the threads of many rotations."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from certrotd.acme.client import Clients
from certrotd.clock import SystemClock
from certrotd.errors import Transient
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, soon


def test_more_threads_than_connections_take_turns(ca: ScriptedCA, tmp_path: Path) -> None:
    """A pause between two looks holds no connection."""
    issuer = ca.issuer(tmp_path)
    ca.order["status"] = "ready"
    done: list[bytes] = []

    def obtain() -> None:
        order = issuer.order([NAME], deadline=soon())
        ca.order["status"] = "valid"
        done.append(order.finalize(CSR))

    threads = [threading.Thread(target=obtain) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 40
    assert ca.connections <= 16


def test_no_connection_left_in_time_is_said(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits for another one has a deadline too."""
    monkeypatch.setattr("certrotd.acme.client.MAX_CLIENTS", 1)
    clients = Clients(ca.settings(), tmp_path, SystemClock())
    with clients.lend(soon()), pytest.raises(Transient, match="all 1 connections"):
        clients.lend(soon(0.1)).__enter__()
    with clients.lend(soon()) as (client, _):
        assert client.directory["newOrder"]


def test_a_start_that_hangs_in_one_thread_does_not_hold_the_others(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The directory is fetched by one; who waits for that waits within its own deadline."""
    issuer = ca.issuer(tmp_path)
    ca.on("/directory", Reply(delay=1.0, status=502))
    first = threading.Thread(target=lambda: issuer.preflight(deadline=soon()))
    first.start()
    while not ca.seen:
        time.sleep(0.01)
    with pytest.raises(Transient, match="still asking scripted"):
        issuer.preflight(deadline=soon(0.2))
    first.join()
