"""A web server that alerts are posted to: it keeps what it gets, and answers as the test wants."""

import itertools
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """What it got, and how it answers the next requests.

    ``failing`` is how many requests get ``status`` before the rest get 204 (None: all). ``hangs``
    answers nothing, ``drips`` an octet of the head every so many seconds, until ``released``.
    """

    port: int = 0
    got: list[Got] = field(default_factory=list)
    status: int = 204
    failing: int | None = None
    reason: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    drips: float | None = None
    released: threading.Event = field(default_factory=threading.Event)
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Where alerts are posted to."""
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def status_now(self) -> int:
        """The status of the next answer."""
        if self.failing is None:
            return self.status
        self.failing -= 1
        return self.status if self.failing >= 0 else 204


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        receiver.got.append(Got(self.path, dict(self.headers), body))
        if receiver.hangs:
            receiver.released.wait()
            return
        if receiver.drips is not None:
            octets = itertools.chain(b"HTTP/1.1 204 ", itertools.repeat(ord("x")))
            while not receiver.released.wait(receiver.drips):
                self.wfile.write(bytes([next(octets)]))
                self.wfile.flush()
            return
        self.send_response(receiver.status_now())
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(receiver.reason)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on standard error."""


@contextmanager
def receiving(pair: tuple[Path, Path] | None = None) -> Iterator[Receiver]:
    """A receiver on loopback; over TLS with a certificate and its key."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        receiver = server.receiver = Receiver(server.server_address[1])
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            receiver.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join(5)
