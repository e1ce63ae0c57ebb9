"""A program run in a container: over a WebSocket, whatever becomes of it."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.websocket import BINARY, CLOSE, PING, PONG, TEXT, accepted
from certrotd.kube import exec as execution
from certrotd.kube.access import Access
from certrotd.kube.api import Api, Denied, Missing
from certrotd.kube.exec import Ran, run
from certrotd.observe.trust import no_check
from tests.builders import OLD
from tests.unit.https.test_websocket import served
from tests.unit.observe.servers import Listener, context_of

SUCCESS = served(BINARY, b"\x03" + json.dumps({"status": "Success"}).encode())
Answer = Callable[[ssl.SSLSocket, str], None]


class Server:
    """An API server that answers as a test says; what it was asked is kept."""

    def __init__(self, folder: Path) -> None:
        self.context = context_of(OLD, folder)
        self.head = ""
        self.answer: Answer = lambda _secure, _key: None

    def __call__(self, connection: socket.socket) -> None:
        with self.context.wrap_socket(connection, server_side=True) as secure:
            head = b""
            while b"\r\n\r\n" not in head:
                head += secure.recv(4096)
            self.head = head.decode()
            [key] = re.findall(r"(?i)sec-websocket-key: (\S+)", self.head)
            self.answer(secure, key)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@pytest.fixture
def ask(server: Server) -> Iterator[Callable[..., Ran]]:
    """Runs cat in a container there."""
    with Listener(server) as listener:
        access = Access(f"https://127.0.0.1:{listener.port}", no_check(), "shop", lambda: "abc")
        api = Api(access, SystemClock(), agent="test/1")

        def ask(seconds: float = 20.0) -> Ran:
            return run(api, "shop", "web-1", "main", ("cat", "a b&c"), seconds=seconds)

        yield ask


def opening(*frames: bytes, close: bool = True) -> Answer:
    """Opens the WebSocket, and sends that."""

    def answer(secure: ssl.SSLSocket, key: str) -> None:
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        secure.sendall(f"{head}Sec-WebSocket-Accept: {accepted(key)}\r\n\r\n".encode())
        for each in frames:
            secure.sendall(each)
        if not close:
            secure.recv(4096)

    return answer


def saying(status: int, content: Any = None, **headers: str) -> Answer:
    """Opens none, and says why."""

    def answer(secure: ssl.SSLSocket, _key: str) -> None:
        body = json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        secure.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def test_what_a_program_says_is_told_apart(server: Server, ask: Callable[..., Ran]) -> None:
    """In whatever pieces it comes; a ping is answered, other channels are passed over."""
    heard: list[bytes] = []

    def answer(secure: ssl.SSLSocket, key: str) -> None:
        out = served(BINARY, b"\x01one ", final=False) + served(0, b"two")
        opening(served(BINARY, b"\x01"), served(PING, b"?"), out, served(TEXT, b"\x01no"))(
            secure, key
        )
        heard.append(secure.recv(4096))
        secure.sendall(served(BINARY, b"\x02oh\n") + served(BINARY, b"\x09resize") + SUCCESS)
        secure.recv(4096)

    server.answer = answer
    found = ask()
    assert (found.code, found.output, found.errors) == (0, b"one two", b"oh\n")
    assert heard[0][0] == 0x80 | PONG
    request, *headers = server.head.split("\r\n")
    assert request == (
        "GET /api/v1/namespaces/shop/pods/web-1/exec?command=cat&command=a+b%26c&container=main"
        "&stdout=true&stderr=true HTTP/1.1"
    )
    assert "authorization: Bearer abc" in [each.replace("Auth", "auth") for each in headers]


def test_an_api_server_below_a_path_is_asked_there(server: Server) -> None:
    """As Rancher's is, for one: it answers for many clusters."""
    server.answer = opening(SUCCESS, close=False)
    with Listener(server) as listener:
        address = f"https://127.0.0.1:{listener.port}/k8s/clusters/c-1"
        api = Api(Access(address, no_check(), "shop"), SystemClock(), agent="test/1")
        assert run(api, "shop", "web-1", "main", ("true",), seconds=20.0).code == 0
    assert server.head.startswith("GET /k8s/clusters/c-1/api/v1/namespaces/shop/pods/web-1/exec?")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (saying(403, {"message": "no create"}), Denied, "no create"),
        (saying(404, {"message": "no pod"}), Missing, "no pod"),
        (saying(400, "?"), NeedsOperator, "refuses GET /api/v1/namespaces/shop/pods/web-1/exec"),
        (saying(503, None, Retry_After="7"), Transient, "busy or not ready"),
        (saying(200, {}), Transient, "did not open a WebSocket"),
        (saying(101, None, Upgrade="other", Connection="Upgrade"), Transient, "is no WebSocket"),
        (opening(), Transient, "was lost"),
        (opening(served(BINARY, b"\x01x")), Transient, "was lost"),
        (opening(served(CLOSE, b"")), Transient, "was closed before it had ended"),
        (opening(bytes([0xC2, 0])), Transient, "was lost: a frame with an extension"),
        (
            opening(served(BINARY, b'\x03{"status":"Failure","message":"no such program"}')),
            NeedsOperator,
            "cat in web-1/main cannot be run: no such program",
        ),
        (lambda _secure, _key: None, Transient, "the way to web-1/main was lost"),
        (lambda secure, _key: secure.sendall(b"nonsense\r\n\r\n"), Transient, "was lost"),
    ],
    ids=[
        *("denied", "missing", "refused", "busy", "plain answer", "no websocket", "nothing"),
        *("cut", "closed", "bad frame", "not started", "silent", "nonsense"),
    ],
)
def test_each_failure_says_who_can_do_something_about_it(
    server: Server, ask: Callable[..., Ran], answer: Answer, kind: type[Failure], words: str
) -> None:
    """And none is taken for the end of the program."""
    server.answer = answer
    with pytest.raises(kind, match=re.escape(words)):
        ask()


def test_a_program_that_does_not_end_is_given_up(server: Server, ask: Callable[..., Ran]) -> None:
    """At the deadline."""
    server.answer = opening(served(BINARY, b"\x01x"), close=False)
    with pytest.raises(Transient, match=r"cat in web-1/main did not end within 0\.5 s"):
        ask(0.5)


def test_one_that_says_too_much_is_given_up(
    monkeypatch: pytest.MonkeyPatch, server: Server, ask: Callable[..., Ran]
) -> None:
    """A file that is no certificate may be of any size."""
    monkeypatch.setattr(execution, "MAX_OUTPUT", 1000)
    server.answer = opening(served(BINARY, b"\x01" + b"x" * 900) * 2, close=False)
    with pytest.raises(NeedsOperator, match="says more than 1000 bytes"):
        ask()


def test_nobody_there_is_transient() -> None:
    """It may be back."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    api = Api(Access(f"https://127.0.0.1:{port}", no_check(), "shop"), SystemClock(), agent="test")
    with pytest.raises(Transient, match="the way to web-1/main was lost"):
        run(api, "shop", "web-1", "main", ("cat",), seconds=5)
