"""Who is given a keyring, what the others are told, and what bad clients do to good ones."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keyserver import server as module
from certrotd.keyserver.server import KeyServer, Peer
from certrotd.keyserver.wire import MAX_REQUEST, Provided, provided
from tests.parts.process import wait_until
from tests.unit.client.sealed import NOW, Sealed, data_key
from tests.unit.keyserver.serving import Daemon, answered, ask, connect, server_at, serving

ORDERS = {"op": "keyring", "keyring": "orders", "have": "", "revision": 0}


@pytest.fixture
def daemon(sealed: Sealed) -> Daemon:
    """What the server asks, which lets this user read."""
    return Daemon(sealed)


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    """The keyring that is served."""
    return Sealed(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the server is."""
    return tmp_path / "keys.sock"


@pytest.fixture
def server(path: Path, daemon: Daemon) -> Iterator[KeyServer]:
    """A server that answers."""
    with serving(path, daemon) as started:
        yield started


def beat(**more: Any) -> dict[str, Any]:
    """A heartbeat as JSON."""
    told = Heartbeat("orders", "shop", "0" * 16, NOW, "1" * 64)
    return {**json.loads(told.render()), **more}


@pytest.mark.usefixtures("server")
def test_a_process_that_may_read_a_keyring_is_given_it(daemon: Daemon, path: Path) -> None:
    """The kernel says who it is."""
    found = provided(ask(path, ORDERS))
    assert found.delivery == daemon.sealed.delivery
    assert (found.revision, found.used) == (daemon.sealed.keyring.revision, {1: 0})
    assert daemon.asked == [Peer(os.getpid(), os.geteuid(), os.getegid())]


@pytest.mark.usefixtures("server")
def test_who_has_the_revision_is_not_given_it_again(daemon: Daemon, path: Path) -> None:
    """Both the hash and the revision must be the same."""
    has = {"have": daemon.sealed.delivery.hash, "revision": daemon.sealed.keyring.revision}
    assert ask(path, ORDERS | has) == {"unchanged": True}
    assert "keys" in ask(path, ORDERS | has | {"revision": 1})
    assert "keys" in ask(path, ORDERS | has | {"have": "0" * 64})


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("name", ["orders", "others", "../orders", ""])
def test_who_may_not_read_learns_nothing(daemon: Daemon, path: Path, name: str) -> None:
    """Not even whether there is such a keyring."""
    daemon.readers.clear()
    told = ask(path, ORDERS | {"keyring": name})
    assert told["refused"] == "forbidden"
    assert told == ask(path, ORDERS | {"keyring": "nothing"})
    assert ask(path, {"op": "heartbeat", "heartbeat": beat()}) == told
    assert daemon.heard == []


@pytest.mark.usefixtures("server")
def test_heartbeats_are_heard_and_so_is_a_leave(daemon: Daemon, path: Path) -> None:
    """With the peer, as the kernel has it."""
    assert ask(path, {"op": "heartbeat", "heartbeat": beat()}) == {"heard": True}
    assert ask(path, {"op": "leave", "heartbeat": beat(failures=3)}) == {"heard": True}
    [(first, peer)] = daemon.heard
    [(last, _)] = daemon.left
    assert (first.client, first.failures, last.failures) == ("shop", 0, 3)
    assert peer == Peer(os.getpid(), os.geteuid(), os.getegid())


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"op": "keyring"},
        {"op": "keyring", "keyring": 1, "have": "", "revision": 0},
        {"op": "else", "heartbeat": {}},
        {"op": "heartbeat", "heartbeat": {}},
        {"op": "heartbeat", "heartbeat": beat(instance="x")},
        [],
    ],
)
def test_what_is_no_request_is_refused(daemon: Daemon, path: Path, request_: object) -> None:
    """In words, and nobody is asked anything."""
    assert ask(path, request_)["refused"] == "malformed"
    assert daemon.asked == []
    assert daemon.reports == []


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "raw",
    [b"", b"\0", b"\0\0\0\x05{}", b"\xff\xff\xff\xff", (MAX_REQUEST + 1).to_bytes(4), b"GET /"],
)
def test_what_is_no_frame_is_refused(path: Path, raw: bytes) -> None:
    """Before any of its bytes are waited for."""
    assert ask(path, None, raw=raw)["refused"] == "malformed"
    assert "keys" in ask(path, ORDERS)


@pytest.mark.usefixtures("server")
def test_a_keyring_that_cannot_be_read_is_said_to_be_unavailable(
    daemon: Daemon, path: Path
) -> None:
    """Why is for certrotd's log, not for its clients; once."""
    daemon.failure = Transient("the KEK is away")
    for _ in range(2):
        told = ask(path, ORDERS)
        assert told == {"refused": "unavailable", "why": "the server cannot read the keyring"}
    assert daemon.reports == ["the keyring orders cannot be given: the KEK is away"]
    assert ask(path, {"op": "heartbeat", "heartbeat": beat()})["refused"] == "unavailable"
    assert daemon.reports[1:] == ["a heartbeat of shop is lost: the KEK is away"]
    daemon.failure = None
    assert "keys" in ask(path, ORDERS)


@pytest.mark.usefixtures("server")
def test_a_defect_ends_one_answer_and_shows_no_key(daemon: Daemon, path: Path) -> None:
    """Its words may be those of the key that it stumbled over."""
    daemon.failure = ValueError(data_key(1).material.reveal().hex())
    told = ask(path, ORDERS)
    assert told == {"refused": "unavailable", "why": "the server cannot answer"}
    assert daemon.reports == ["a request could not be answered: ValueError"]
    daemon.failure = None
    assert "keys" in ask(path, ORDERS)


def test_a_client_that_says_nothing_is_left_alone_with_it(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection ends, and others are answered meanwhile."""
    monkeypatch.setattr(module, "READ", 0.2)
    with serving(path, daemon), connect(path) as silent, connect(path) as slow:
        slow.sendall(b"\0\0")
        assert "keys" in ask(path, ORDERS)
        assert answered(silent) == {}
        assert answered(slow) == {}


def test_a_client_that_does_not_read_its_answer_is_left_behind(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent no more than the system keeps for it."""
    monkeypatch.setattr(module, "WRITE", 0.2)
    big = Provided(daemon.sealed.delivery, 1).render() | {"filling": "x" * 3_000_000}
    with monkeypatch.context() as then:
        then.setattr(Provided, "render", lambda self: big)
        with serving(path, daemon) as server, connect(path) as deaf:
            data = json.dumps(ORDERS).encode()
            deaf.sendall(len(data).to_bytes(4) + data)
            wait_until(lambda: bool(daemon.asked))
            wait_until(lambda: not server._by_user)
            with pytest.raises(AssertionError):
                answered(deaf)


def test_an_answer_that_is_too_large_is_not_sent(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client would take it."""
    monkeypatch.setattr(Provided, "render", lambda self: {"x": "y" * 5_000_000})
    with serving(path, daemon):
        assert ask(path, ORDERS)["refused"] == "malformed"


def test_one_user_does_not_take_the_places_of_others(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has too many connections open is told so, and has them back one by one."""
    monkeypatch.setattr(module, "OF_ONE_USER", 3)
    with serving(path, daemon) as server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(path)) for _ in range(3)]
        wait_until(lambda: server._by_user[os.geteuid()] == 3)
        assert ask(path, ORDERS)["refused"] == "busy"
        idle[0].close()
        wait_until(lambda: server._by_user[os.geteuid()] == 2)
        assert "keys" in ask(path, ORDERS)


def test_more_connections_than_there_are_places_wait(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its place in turn, and none is lost."""
    monkeypatch.setattr(module, "CONNECTIONS", 2)
    monkeypatch.setattr(module, "READ", 0.5)
    with serving(path, daemon), contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(path))
        assert "keys" in ask(path, ORDERS)


def test_a_server_that_can_accept_nothing_goes_on(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without descriptors or threads, and says so once."""
    monkeypatch.setattr(module, "_NAP", 0.01)
    accept, failing = socket.socket.accept, threading.Event()

    def accepting(self: socket.socket) -> Any:
        if failing.is_set():
            raise OSError(24, "Too many open files")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", accepting)
    with serving(path, daemon):
        failing.set()
        with contextlib.suppress(OSError):
            connect(path).close()
        wait_until(lambda: bool(daemon.reports))
        failing.clear()
        assert "keys" in ask(path, ORDERS)
    assert daemon.reports == ["a connection could not be accepted: Too many open files"]


def test_a_connection_for_which_there_is_no_thread_is_closed(
    path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free for the next one."""
    with serving(path, daemon):
        start = threading.Thread.start

        def refuse(self: threading.Thread) -> None:
            monkeypatch.setattr(threading.Thread, "start", start)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with connect(path) as client:
            assert answered(client) == {}
        assert "keys" in ask(path, ORDERS)


def test_a_server_that_has_ended_leaves_nothing(path: Path, daemon: Daemon) -> None:
    """Ended twice, or never begun."""
    server = server_at(path, daemon)
    server.close()
    with serving(path, daemon) as started:
        assert path.is_socket()
        started.close()
        assert not path.exists()


def test_a_server_without_a_place_does_not_start(path: Path, daemon: Daemon) -> None:
    """And can be ended as any other."""
    path.write_text("in the way")
    server = server_at(path, daemon)
    with pytest.raises(NeedsOperator):
        server.start()
    server.close()
