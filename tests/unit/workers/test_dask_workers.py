"""Which schedulers of Dask are talked to, and what is said of those that are not there."""

from __future__ import annotations

import importlib.util
import os
import socket

import pytest

from certrotd.errors import NeedsOperator, Transient, UsageError
from certrotd.workers import dask_workers
from certrotd.workers.dask_workers import DaskWorkers, check_address


@pytest.mark.parametrize(
    "address", ["tls://scheduler.example.com:8786", "tcp://127.0.0.1:1", "tcp://[::1]:1"]
)
def test_tls_is_taken_everywhere_and_tcp_on_loopback(address: str) -> None:
    """Nobody else can reach that."""
    check_address(address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://192.0.2.1:8786", "without TLS"),
        ("tcp://localhost.example.com:8786", "without TLS"),
        ("tcp://127.0.0.1.example.com:8786", "without TLS"),
        ("tcp://0.0.0.0:8786", "without TLS"),
        ("http://127.0.0.1:8786", "is no scheduler"),
        ("127.0.0.1:8786", "is no scheduler"),
        ("tls://scheduler.example.com", "is no scheduler"),
        ("tls://:8786", "is no scheduler"),
        ("tls://[:8786", "is no scheduler"),
    ],
)
def test_every_other_address_is_refused(address: str, why: str) -> None:
    """Whoever reaches a scheduler runs programs on every worker."""
    with pytest.raises(UsageError, match=why):
        DaskWorkers(os.getpid, address=address)


def test_a_scheduler_that_is_not_there_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without certificates it is never asked."""
    monkeypatch.setattr(dask_workers, "FOUND_WITHIN", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(Transient, match=f"scheduler at tcp://127.0.0.1:{port}"),
        DaskWorkers(os.getpid, address=f"tcp://127.0.0.1:{port}"),
    ):
        pass
    with (
        pytest.raises(NeedsOperator, match="TLS__CA_FILE"),
        DaskWorkers(os.getpid, address=f"tls://127.0.0.1:{port}"),
    ):
        pass


class Closing:
    """A client that cannot be closed, as when the last worker ends in that moment."""

    closed = 0

    def close(self, timeout: float) -> None:
        Closing.closed += 1
        raise OSError("the comm is closed")


def test_what_is_done_stays_done_when_workers_do_not_end(caplog: pytest.LogCaptureFixture) -> None:
    """It is reported, and the cluster behind the client is closed all the same."""
    workers = DaskWorkers(os.getpid, number=1)
    workers._client, workers._cluster = Closing(), Closing()
    workers.__exit__(None, None, None)
    assert Closing.closed == 2
    assert "workers of Dask did not end: OSError: the comm is closed" in caplog.text


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is begun."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NeedsOperator, match=r"Dask is not installed .*\[cluster\]"):
        DaskWorkers(os.getpid, number=2)
