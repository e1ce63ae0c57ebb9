"""A client that sends exactly what it is told to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from certrotd.clock import SystemClock
from certrotd.config.http import HttpEntry
from certrotd.config.modes import Mode
from certrotd.daemon.http.request import Request
from certrotd.daemon.http.response import Response
from certrotd.daemon.http.server import HttpServer
from tests.parts.process import free_port

PATIENCE = 60
"""Seconds a client waits for what must come, however slow the machine."""


class Kept:
    """The Log port, over a list."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def __call__(self, level: str, event: str, words: str, /, **_fields: object) -> None:
        self.events.append((level, event, words))

    @property
    def said(self) -> list[str]:
        """The words alone."""
        return [words for _, _, words in self.events]


def at_address() -> HttpEntry:
    """An entry with a free port."""
    return HttpEntry.model_validate({"listen": f"127.0.0.1:{free_port()}"})


def at_path(path: Path, mode: int = 0o660) -> HttpEntry:
    """An entry with a socket."""
    return HttpEntry(listen=path, mode=Mode(mode))


def connect(entry: HttpEntry) -> socket.socket:
    """A connection to where the entry says."""
    if isinstance(entry.listen, Path):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE)
        try:
            client.connect(str(entry.listen))
        except OSError:
            client.close()
            raise
        return client
    return socket.create_connection((entry.listen.host, entry.listen.port), timeout=PATIENCE)


def ask(entry: HttpEntry, path: str = "/", *, raw: bytes | None = None) -> bytes:
    """Everything that is answered to one request."""
    with connect(entry) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # enough was read of it
            client.sendall(raw or f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return everything(client)


def everything(client: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65536):
            received += more
    return received


def refuses(entry: HttpEntry) -> bool:
    """Whether nobody listens there."""
    try:
        connect(entry).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def echo(request: Request) -> Response:
    """A page that says which one it is."""
    return Response(f"{request.path} {request.query}\n")


@contextlib.contextmanager
def serving(entry: HttpEntry, page: Callable[[Request], Response] = echo) -> Iterator[Kept]:
    """A server for the time of the block; what it says."""
    kept = Kept()
    server = HttpServer(entry, page, SystemClock(), kept)
    server.start()
    try:
        yield kept
    finally:
        server.close()
