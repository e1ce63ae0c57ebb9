"""Connections to one CA, shared by the threads of many rotations."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest

from certrotd.acme.client import Clients
from certrotd.errors import NeedsOperator, Transient
from certrotd.pki import roots
from tests.builders import soon
from tests.parts import pki
from tests.parts.process import wait_until
from tests.unit.acme.scripted import CSR, NAME, Reply, ScriptedCA, context, problem


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


def test_no_connection_left_in_time_is_reported(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits for another one has a deadline too."""
    monkeypatch.setattr("certrotd.acme.client.MAX_CLIENTS", 1)
    clients = Clients(ca.entry(), context(tmp_path))
    with clients.lend(soon()), pytest.raises(Transient, match="all 1 connections"):
        clients.lend(soon(0.1)).__enter__()
    with clients.lend(soon()) as (client, _):
        assert client.directory["newOrder"]


def test_a_start_that_hangs_in_one_thread_does_not_hold_the_others(
    ca: ScriptedCA, tmp_path: Path
) -> None:
    """The directory is fetched by one; who waits for that waits within its own deadline."""
    issuer = ca.issuer(tmp_path)
    given_up = threading.Event()
    ca.on("/directory", Reply(after=given_up, status=502))
    first = threading.Thread(target=lambda: issuer.preflight(deadline=soon()))
    first.start()
    wait_until(lambda: bool(ca.seen))
    with pytest.raises(Transient, match="still waits for scripted"):
        issuer.preflight(deadline=soon(0.2))
    given_up.set()
    first.join()


def test_a_bundle_that_was_replaced_is_read_again(ca: ScriptedCA, tmp_path: Path) -> None:
    """A private CA got a new root: whoever puts it in place need not restart a daemon."""
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(pki.make_root("an old root").fullchain_pem)
    issuer = ca.issuer(tmp_path, ca_bundle=bundle)
    for _ in range(2):
        with pytest.raises(NeedsOperator, match="is not trusted"):
            issuer.preflight(deadline=soon())
    bundle.write_bytes(ca.root.fullchain_pem)
    issuer.preflight(deadline=soon())


def test_a_bundle_is_read_once_while_it_does(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the machine's roots take long to load, and a refusal is no reason."""
    read: list[Path | None] = []
    real = roots.trust

    def trust(bundle: Path | None, *, hint: str) -> ssl.SSLContext:
        read.append(bundle)
        return real(bundle, hint=hint)

    monkeypatch.setattr("certrotd.acme.client.trust", trust)
    issuer = ca.issuer(tmp_path)
    ca.on("/orders", Reply(403, problem("rejectedIdentifier", "not that one")))
    with pytest.raises(NeedsOperator, match="rejectedIdentifier"):
        issuer.order([NAME], deadline=soon())
    issuer.preflight(deadline=soon())
    assert len(read) == 1
