"""Many clients at once: health is answered beside them, and nobody keeps a place for long."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certrotd.config.http import HttpEntry
from certrotd.daemon.http import server as module
from certrotd.daemon.http.request import Request
from certrotd.daemon.http.response import Response
from certrotd.daemon.http.server import CONNECTIONS, SLOTS
from tests.parts.process import wait_until
from tests.unit.daemon.http.talk import (
    PATIENCE,
    ask,
    at_address,
    at_path,
    connect,
    echo,
    everything,
    serving,
)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow client soon loses its place, but may take longer to read than a test waits."""
    for name, seconds in (("READ", 1.0), ("QUEUE", 0.2), ("LINGER", 0.2), ("WRITE", 10 * PATIENCE)):
        monkeypatch.setattr(module, name, seconds)


def silent(client: socket.socket) -> None:
    """It connects, and that is all."""


def slow(client: socket.socket) -> None:
    """It begins a request and does not end it."""
    client.sendall(b"GET / HTTP/1.1\r\nX: ")


def stays(client: socket.socket) -> None:
    """It is answered and does not hang up."""
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")


def is_well(entry: HttpEntry) -> bool:
    """Whether /livez says that all is well."""
    return ask(entry, "/livez").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("count", [CONNECTIONS, 2 * CONNECTIONS])
@pytest.mark.parametrize("manner", [silent, slow, stays])
@pytest.mark.parametrize("kind", ["address", "path"])
def test_health_is_answered_when_slow_clients_took_every_place(
    tmp_path: Path, kind: str, manner: Callable[[socket.socket], None], count: int
) -> None:
    """A supervisor that hears nothing restarts the daemon: nobody may bring that about."""
    entry = at_address() if kind == "address" else at_path(tmp_path / "s")
    with serving(entry), ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(BrokenPipeError):  # so slow that it lost its place before
                manner(stack.enter_context(connect(entry)))
        assert is_well(entry)


def test_a_slow_client_hears_that_its_time_is_over() -> None:
    """One that means well can try again."""
    entry = at_address()
    with serving(entry), connect(entry) as client:
        slow(client)
        assert everything(client).startswith(b"HTTP/1.1 408 ")


class Long:
    """A page in two parts; before the second it waits for ``go``."""

    part = "x" * 2_000_000

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, request: Request) -> Response:
        return Response(self._parts()) if request.path == "/long" else echo(request)

    def _parts(self) -> Iterator[str]:
        yield self.part
        self.go.wait(PATIENCE)
        yield self.part


def asking(entry: HttpEntry, stack: ExitStack, path: str = "/long") -> socket.socket:
    """A client that has asked and does not read."""
    client = stack.enter_context(connect(entry))
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("count", [SLOTS, 2 * CONNECTIONS])
def test_health_is_answered_beside_answers_that_nobody_reads(count: int) -> None:
    """Two megabytes fit into no socket: they hold the slots, which health does not need."""
    entry, long = at_address(), Long()
    with serving(entry, long), ExitStack() as stack:
        for _ in range(count):
            asking(entry, stack)
        time.sleep(0.2)
        assert is_well(entry)
        long.go.set()


def test_a_request_without_a_slot_is_refused_and_those_with_one_are_answered_whole() -> None:
    """It is refused soon, because waiting costs a place; nobody is cut off for others."""
    entry, long = at_address(), Long()
    with serving(entry, long), ExitStack() as stack:
        clients = [asking(entry, stack) for _ in range(SLOTS)]
        assert all(select.select([client], [], [], PATIENCE)[0] for client in clients)
        refused = ask(entry, "/x")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"ask again later" in refused
        long.go.set()
        for client in clients:
            head, _, body = everything(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert len(body) == 2 * len(long.part)
        assert ask(entry, "/x").startswith(b"HTTP/1.1 200 ")


def test_the_server_can_be_closed_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop must not wait for slow clients."""
    monkeypatch.setattr(module, "CONNECTIONS", 1)
    entry, go, running = at_address(), threading.Event(), threading.Event()

    def held(request: Request) -> Response:
        running.set()
        go.wait(PATIENCE)
        return echo(request)

    with ExitStack() as stack:
        with serving(entry, held):
            first, second = (stack.enter_context(connect(entry)) for _ in range(2))
            first.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wait_until(running.is_set)
        assert everything(second) == b""
        assert select.select([first], [], [], 0)[0] == []  # it was not waited for
        go.set()
        assert everything(first).startswith(b"HTTP/1.1 200 ")  # what is on its way goes on
