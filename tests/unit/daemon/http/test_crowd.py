"""When all places or slots are taken: who is cut off for others, and who is not."""

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
from certrotd.daemon.http.timeouts import HURRY, Timeout
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
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow client may take ten times as long as a test waits, unless it is cut off for others."""
    for name in ("READ", "WRITE", "LINGER"):
        monkeypatch.setattr(module, name, 10.0 * PATIENCE)


def silent(client: socket.socket) -> None:
    """It connects, and that is all."""


def slow(client: socket.socket) -> None:
    """It begins a request and does not end it."""
    with contextlib.suppress(BrokenPipeError):  # so slow that it is cut off before
        client.sendall(b"GET / HTTP/1.1\r\nX: ")


def stays(client: socket.socket) -> None:
    """It is answered and does not hang up."""
    with contextlib.suppress(BrokenPipeError):
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")


def is_well(entry: HttpEntry) -> bool:
    """Whether one hears in time that all is well."""
    return ask(entry, "/livez").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("count", [CONNECTIONS, 4 * CONNECTIONS])
@pytest.mark.parametrize("manner", [silent, slow, stays])
@pytest.mark.parametrize("kind", ["address", "path"])
def test_health_is_answered_whoever_keeps_the_places(
    tmp_path: Path, kind: str, manner: Callable[[socket.socket], None], count: int
) -> None:
    """A supervisor that hears nothing restarts the daemon: nobody may bring that about."""
    entry = at_address() if kind == "address" else at_path(tmp_path / "s")
    with serving(entry), ExitStack() as stack:
        for _ in range(count):
            manner(stack.enter_context(connect(entry)))
        assert is_well(entry)


def test_a_trickle_does_not_keep_a_place_from_others() -> None:
    """A byte now and then is as good as silence."""
    entry, end = at_address(), threading.Event()

    def trickle(client: socket.socket) -> None:
        try:
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
            while not end.wait(0.01):
                client.sendall(b"y")
        except OSError:
            return  # cut off

    with serving(entry), ExitStack() as stack:
        clients = [stack.enter_context(connect(entry)) for _ in range(CONNECTIONS)]
        threads = [threading.Thread(target=trickle, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.2)
            assert is_well(entry)
        finally:
            end.set()
            for thread in threads:
                thread.join()


def test_who_is_cut_off_is_told_so() -> None:
    """A slow client that means well can try again."""
    entry = at_address()
    with serving(entry), ExitStack() as stack:
        clients = [stack.enter_context(connect(entry)) for _ in range(CONNECTIONS)]
        time.sleep(0.2)
        assert ask(entry).startswith(b"HTTP/1.1 200 ")
        [cut, *_], _, _ = select.select(clients, [], [], 0)
        assert everything(cut).startswith(b"HTTP/1.1 408 ")


def test_without_a_crowd_a_slow_client_has_its_time() -> None:
    """The control: one place is free, so nobody is hurried."""
    entry = at_address()
    with serving(entry), ExitStack() as stack:
        clients = [stack.enter_context(connect(entry)) for _ in range(CONNECTIONS - 1)]
        for client in clients:
            client.sendall(b"GET / HT")
        time.sleep(0.3)
        assert ask(entry).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.3)
        for client in clients:
            client.sendall(b"TP/1.0\r\n\r\n")
            assert everything(client).startswith(b"HTTP/1.1 200 ")


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


def body(client: socket.socket) -> bytes:
    """What is answered with 200."""
    head, _, rest = everything(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return rest


def test_who_is_being_answered_is_not_cut_off() -> None:
    """The control: however long it takes to make and to read, and however many others wait."""
    entry, long = at_address(), Long()
    with serving(entry, long), ExitStack() as stack:
        clients = [asking(entry, stack) for _ in range(SLOTS)]
        assert all(select.select([client], [], [], PATIENCE)[0] for client in clients)
        for _ in range(2 * CONNECTIONS):
            stack.enter_context(connect(entry))
        assert is_well(entry)
        time.sleep(0.2)
        long.go.set()
        assert all(len(body(client)) == 2 * len(long.part) for client in clients)


@pytest.mark.parametrize("count", [SLOTS, CONNECTIONS, 4 * CONNECTIONS])
def test_health_is_answered_beside_answers_that_nobody_reads(count: int) -> None:
    """Two megabytes fit into no socket: who does not read them stays for half a minute."""
    entry, long = at_address(), Long()
    with serving(entry, long), ExitStack() as stack:
        for _ in range(count):
            asking(entry, stack)
        time.sleep(0.2)
        assert is_well(entry)
        long.go.set()


def test_who_waits_for_a_slot_is_answered_when_there_is_one_or_refused_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Waiting costs a place, so it lasts as long as nobody else wants that."""
    entry, long = at_address(), Long()
    acquire, asked = Timeout.acquire, list[int]()

    def counted(self: Timeout, slots: threading.Semaphore) -> bool:
        asked.append(1)
        return acquire(self, slots)

    monkeypatch.setattr(Timeout, "acquire", counted)
    with serving(entry, long), ExitStack() as stack:
        clients = [asking(entry, stack) for _ in range(SLOTS)]
        assert all(select.select([client], [], [], PATIENCE)[0] for client in clients)
        waiting = [asking(entry, stack, "/x") for _ in range(CONNECTIONS - SLOTS)]
        wait_until(lambda: len(asked) == CONNECTIONS)
        time.sleep(2 * HURRY)
        assert select.select(waiting, [], [], 0)[0] == []
        assert is_well(entry)  # takes the place of one of them
        refused, _, _ = select.select(waiting, [], [], 0)
        assert refused
        long.go.set()
        assert all(len(body(client)) == 2 * len(long.part) for client in clients)
        for client in waiting:  # now there are slots
            said = everything(client)
            assert said.startswith(b"HTTP/1.1 503 " if client in refused else b"HTTP/1.1 ")


def test_the_server_can_be_closed_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop must not wait for slow clients."""
    monkeypatch.setattr(module, "CONNECTIONS", 1)
    entry, go, running = at_address(), threading.Event(), threading.Event()
    accept, accepted = socket.socket.accept, list[int]()

    def counted(self: socket.socket) -> tuple[socket.socket, object]:
        found = accept(self)
        accepted.append(1)
        return found

    def held(request: Request) -> Response:
        running.set()
        go.wait(PATIENCE)
        return echo(request)

    monkeypatch.setattr(socket.socket, "accept", counted)
    with ExitStack() as stack:
        with serving(entry, held):
            first, second = (stack.enter_context(connect(entry)) for _ in range(2))
            first.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wait_until(lambda: running.is_set() and len(accepted) == 2)
        assert second.recv(1) == b""
        assert select.select([first], [], [], 0)[0] == []  # it was not waited for
        go.set()
        assert everything(first).startswith(b"HTTP/1.1 200 ")  # what is on its way goes on
