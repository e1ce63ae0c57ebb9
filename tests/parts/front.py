"""A web server in front of a service, real or written in the test, in which troubles are made."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One request; the names of the headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Service = Callable[[Request], Response]


@dataclass
class Front:
    """Answers as ``service`` does, unless ``instead`` has an answer to the request.

    ``hangs`` answers nothing until ``released``; ``cuts`` sends the first half of each answer and
    closes; ``down`` closes each connection at once.
    """

    service: Service
    port: int = 0
    scheme: str = "http"
    instead: Callable[[Request], Response | None] = field(default=lambda _: None)
    hangs: bool = False
    cuts: bool = False
    down: bool = False
    got: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def always(self, response: Response) -> None:
        """Answer that from now on."""
        self.instead = lambda _: response


def passed_on(url: str, *, ca_file: Path | None = None) -> Service:
    """The answers of a real server on this machine; over TLS with the CA that it is trusted by."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def connect() -> http.client.HTTPConnection:
        to = str(parts.hostname), parts.port
        if context is None:
            return http.client.HTTPConnection(*to, timeout=30)
        return http.client.HTTPSConnection(*to, timeout=30, context=context)

    def ask(request: Request) -> Response:
        connection = connect()
        try:
            kept = {k: v for k, v in request.headers.items() if k not in _HOP}
            connection.request(request.method, request.path, request.body, kept)
            answer = connection.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}
            return Response(answer.status, answer.read(), headers)
        finally:
            connection.close()

    return ask


_HOP = {"connection", "transfer-encoding", "content-length", "server", "date", "expect"}


class _Server(ThreadingHTTPServer):
    front: Front
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        front = self.server.front
        self.close_connection = True
        if front.down:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        front.got.append(request)
        if front.hangs:
            front.released.wait()
            return
        response = front.instead(request) or front.service(request)
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != 204:
            self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(response.body[: len(response.body) // 2] if front.cuts else response.body)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on standard error."""


@contextmanager
def fronting(service: Service, pair: tuple[Path, Path] | None = None) -> Iterator[Front]:
    """A front on loopback; over TLS with a certificate and its key."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        front = server.front = Front(service, server.server_address[1])
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            front.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield front
        finally:
            front.released.set()
            server.shutdown()
            thread.join(5)
