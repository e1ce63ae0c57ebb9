"""A web server on loopback whose answers a function of the test gives: for what plays an API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request; the names of ``headers`` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer: JSON, or octets as they are.

    ``endless`` repeats those until the client leaves; ``drip`` pauses so many seconds before each
    octet.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False
    drip: float = 0.0


Answer = Callable[[Asked], Reply]


class PlayedApi:
    """What it was asked, and where; ``instead``, if set, answers in the place of the first one."""

    def __init__(self, answer: Answer, port: int) -> None:
        self.answer = answer
        self.instead: Answer | None = None
        self.asked: list[Asked] = []
        self.port = port
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: PlayedApi

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        api, parts = self.server.api, urlsplit(self.path)
        asked = Asked(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length", "0"))),
        )
        api.asked.append(asked)
        self._send((api.instead or api.answer)(asked))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _send(self, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        if reply.body is None:
            body = b""
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(1 << 30 if reply.endless else len(body)))
        self.end_headers()
        if not reply.drip:
            self.wfile.write(body)
            while reply.endless and not self.server.api.released.is_set():
                self.wfile.write(body)
            return
        for octet in body:
            if self.server.api.released.wait(reply.drip):
                return
            self.wfile.write(bytes([octet]))
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on standard error."""


@contextmanager
def played(answer: Answer) -> Iterator[PlayedApi]:
    """A server that answers so."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        api = server.api = PlayedApi(answer, server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            api.released.set()
            server.shutdown()
            thread.join(5)
