"""The server on real sockets: what it answers, and whom it does not wait for."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.daemon.http import server as module
from certrotd.daemon.http.connection import MAX_HEAD
from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.response import Response
from certrotd.daemon.http.server import CONNECTIONS, SLOTS, HttpServer, Web
from certrotd.errors import Failure
from tests.parts.process import wait_until
from tests.unit.daemon.http.talk import (
    PATIENCE,
    Kept,
    ask,
    at_address,
    at_path,
    connect,
    echo,
    everything,
    refuses,
    serving,
)


@pytest.mark.parametrize("kind", ["address", "path"])
def test_the_server_answers_until_it_is_closed(tmp_path: Path, kind: str) -> None:
    """On both sorts of sockets, one request a connection, and nothing stays behind."""
    entry = at_address() if kind == "address" else at_path(tmp_path / "s")
    with serving(entry) as kept:
        for _ in range(3):
            assert ask(entry, "/a?b=c").endswith(b"\r\n\r\n/a {'b': 'c'}\n")
        [(level, event, _)] = kept.events
        assert (level, event) == ("info", "http.listening")
    assert refuses(entry)
    assert list(tmp_path.iterdir()) == []


def test_only_known_names_are_answered_on_an_address(tmp_path: Path) -> None:
    """A browser that somebody's DNS led here learns nothing; on a socket there is no browser."""
    request = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    entry = at_address()
    with serving(entry):
        assert ask(entry, raw=request).startswith(b"HTTP/1.1 421 ")
    entry = entry.model_copy(update={"hosts": ("evil.example",)})
    with serving(entry):
        assert ask(entry, raw=request).startswith(b"HTTP/1.1 200 ")
    entry = at_path(tmp_path / "s")
    with serving(entry):
        assert ask(entry, raw=request).startswith(b"HTTP/1.1 200 ")


def test_a_refused_request_is_answered_with_the_reason() -> None:
    """Nothing is only cut off, where it can be said."""
    entry = at_address()
    with serving(entry) as kept:
        assert ask(entry, raw=b"GARBAGE\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert ask(entry, raw=b"POST / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 405 ")
        long = b"GET / HTTP/1.0\r\nX: " + b"y" * 2 * MAX_HEAD
        assert ask(entry, raw=long).startswith(b"HTTP/1.1 431 ")
        assert ask(entry, raw=long[: MAX_HEAD + 1] + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
    assert len(kept.events) == 1  # strangers do not fill the log


def test_a_client_that_sends_slowly_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slowloris: a byte now and then must not hold a connection for ever."""
    monkeypatch.setattr(module, "READ", 0.5)
    entry = at_address()
    with serving(entry), connect(entry) as client:
        answer = b""
        client.settimeout(0.1)
        for byte in b"GET / HTTP/1.0\r\nX: " + b"y" * 100:  # eleven seconds' worth
            with contextlib.suppress(OSError):  # cut off: what was answered is still there
                client.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                answer = client.recv(1000)
                break
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops in the middle of 6 MB gets its slot taken away."""
    monkeypatch.setattr(module, "WRITE", 0.5)
    entry, ended = at_address(), threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "x" * 100_000
        finally:
            ended.set()

    def page(_request: Request) -> Response:
        return Response(endless())

    with serving(entry, page), connect(entry) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert ended.wait(PATIENCE)


def test_no_more_than_so_many_are_answered_at_once_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads and memory are bounded; who comes later is not refused at once."""
    monkeypatch.setattr(module, "QUEUE", 1.0 * PATIENCE)
    entry, go = at_address(), threading.Event()
    running, most, lock = [0], [0], threading.Lock()

    def slow(request: Request) -> Response:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        go.wait(PATIENCE)
        with lock:
            running[0] -= 1
        return echo(request)

    with serving(entry, slow), ExitStack() as stack:
        clients = []
        for _ in range(SLOTS + 8):
            clients.append(stack.enter_context(connect(entry)))
            clients[-1].sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_until(lambda: running[0] == SLOTS)
        go.set()
        assert all(everything(client).startswith(b"HTTP/1.1 200 ") for client in clients)
    assert most[0] == SLOTS


def test_a_client_that_hangs_up_is_not_logged() -> None:
    """Port scanners and impatient browsers."""
    entry = at_address()
    with serving(entry) as kept:
        connect(entry).close()
        with connect(entry) as client:
            client.sendall(b"GET / HT")
        with connect(entry) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(b"GET / HT")  # closed by a reset
        assert ask(entry).startswith(b"HTTP/1.1 200 ")
    assert len(kept.events) == 1


def test_a_page_that_cannot_be_made_is_reported_and_the_next_one_answered() -> None:
    """A disk that does not answer is not the end of the server."""
    entry = at_address()

    def pages(request: Request) -> Response:
        match request.path:
            case "/failure":
                raise Failure("the disk is gone", hint="bring it back")
            case "/error":
                raise OSError(5, "Input/output error")
            case "/none":
                raise RequestRefused(404, "no such page")
            case "/defect":
                raise ZeroDivisionError("oops")
            case "/torn":
                return Response(torn())
        return echo(request)

    def torn() -> Iterator[str]:
        yield "x" * 40_000
        raise Failure("in the middle")

    with serving(entry, pages) as kept:
        assert ask(entry, "/failure").startswith(b"HTTP/1.1 500 ")
        assert b"the disk is gone (bring it back)" in ask(entry, "/failure")
        assert b"Input/output error" in ask(entry, "/error")
        assert ask(entry, "/none").startswith(b"HTTP/1.1 404 ")
        assert b"unexpected ZeroDivisionError: oops" in ask(entry, "/defect")
        cut = ask(entry, raw=b"GET /torn HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert cut.startswith(b"HTTP/1.1 200 ")
        assert not cut.endswith(b"0\r\n\r\n")  # a client sees that it is not all
        assert ask(entry).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: len(kept.said) == 5)  # the connection is closed before that is logged
    said = kept.said[1:]
    assert [words for words in said if "the disk is gone" in words] == said[:1]  # once
    assert any("unexpected ZeroDivisionError: oops" in words for words in said)
    assert any("in the middle" in words for words in said)
    assert len(said) == 4


def test_a_taken_port_is_reported_once_and_taken_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bad day: the daemon runs without its page, and has it when the other process goes."""
    monkeypatch.setattr(module, "RETRY", 0.5)
    entry = at_address()
    with serving(entry) as first, serving(entry) as second:
        time.sleep(1.2)  # two more tries
        [(level, event, words)] = second.events
        assert (level, event) == ("error", "http.unavailable")
        assert words.startswith(f"no status page: http://{entry.listen}/ is taken by another")
        assert len(first.events) == 1
    kept = Kept()
    blocker, server = HttpServer(entry, echo, SystemClock(), Kept()), HttpServer(
        entry, lambda _request: Response("second"), SystemClock(), kept
    )  # fmt: skip
    blocker.start()
    server.start()
    blocker.close()
    wait_until(lambda: len(kept.events) == 2)
    assert kept.events[1][1] == "http.listening"
    assert ask(entry).endswith(b"second")
    server.close()


def test_a_server_without_file_descriptors_waits_and_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bad day: accept() fails for a while, and then does not; said once."""
    entry, left = at_address(), [3]
    accept = socket.socket.accept

    def failing(self: socket.socket) -> tuple[socket.socket, object]:
        if left[0]:
            left[0] -= 1
            raise OSError(24, "Too many open files")
        return accept(self)

    monkeypatch.setattr(module, "_NAP", 0.05)
    monkeypatch.setattr(socket.socket, "accept", failing)
    with serving(entry) as kept:
        assert ask(entry).startswith(b"HTTP/1.1 200 ")
    assert kept.said[1:] == ["a connection could not be accepted: Too many open files"]


def test_without_threads_a_connection_is_dropped_and_the_next_one_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit of the system must not take a place for ever."""
    entry, start = at_address(), threading.Thread.start
    left = [CONNECTIONS + 1]

    def failing(self: threading.Thread) -> None:
        if left[0] and self.name != "http":
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", failing)
    with serving(entry):
        for _ in range(CONNECTIONS + 1):
            assert ask(entry) == b""
        assert ask(entry).startswith(b"HTTP/1.1 200 ")


def test_a_reload_moves_to_a_new_address_and_keeps_the_same_one(tmp_path: Path) -> None:
    """A reload of the configuration."""
    kept, web = Kept(), None
    first, second = at_address(), at_path(tmp_path / "s")
    web = Web(echo, SystemClock(), kept)
    web.use(None)
    web.use(first)
    with connect(first) as client:
        web.use(first.model_copy())
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert everything(client).startswith(b"HTTP/1.1 200 ")
    assert len(kept.events) == 1
    web.use(second)
    assert refuses(first)
    assert ask(second).startswith(b"HTTP/1.1 200 ")
    web.use(None)
    assert refuses(second)
    web.use(first)
    assert ask(first).startswith(b"HTTP/1.1 200 ")
    web.close()
    web.close()
    assert refuses(first)
