"""Servers in threads of the test, which serve, misbehave or say nothing as they are told."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from certrotd.pki.keys import to_pem
from tests.parts import pki
from tests.unit.pki.crafted import ec_key

Serve = Callable[[socket.socket], object]


class Listener:
    """A listener on loopback that gives its connections to ``serve``, one after the other.

    ``count`` is how many there have been.
    """

    def __init__(self, serve: Serve, *, host: str = "127.0.0.1") -> None:
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(self._family, socket.SOCK_STREAM)
        self._socket.bind((host, 0))
        self._socket.listen(64)
        self._serve = serve
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self.count = 0

    def _run(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if self._stopping.is_set():
                    return
                self.count += 1
                connection.settimeout(60)
                # the other side may leave at any moment, which is what some tests are about
                with contextlib.suppress(OSError):
                    self._serve(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        with socket.socket(self._family, socket.SOCK_STREAM) as last:
            last.connect((self.host, self.port))
        self._thread.join()
        self._socket.close()


def context_of(pair: pki.Pair, directory: Path) -> ssl.SSLContext:
    """A server's context with a pair, whose files are written to ``directory``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(directory, f"{pair.certificate.serial_number:x}"))
    return context


def context_of_der(directory: Path, *chain: bytes) -> ssl.SSLContext:
    """A server's context with certificates in DER, whatever they say; ec_key() is the leaf's."""
    certificates, key = directory / "der.crt", directory / "der.key"
    certificates.write_text("".join(map(ssl.DER_cert_to_PEM_cert, chain)))
    key.write_bytes(to_pem(ec_key()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates, key)
    return context


def tls(*contexts: ssl.SSLContext, forever: Iterable[ssl.SSLContext] = ()) -> Serve:
    """Serves with each context in turn, then with those of ``forever``, or the last one."""
    turns = itertools.chain(contexts, itertools.cycle(forever or contexts[-1:]))

    def serve(connection: socket.socket) -> None:
        with next(turns).wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    return serve


def silent(connection: socket.socket) -> None:
    """Accepts, and says nothing until the other side has left."""
    while connection.recv(4096):
        pass


def dripping(connection: socket.socket) -> None:
    """Says one byte every now and then, so that no single wait for one is long."""
    while True:
        connection.sendall(b"2")
        with contextlib.suppress(TimeoutError):
            connection.settimeout(0.05)
            if not connection.recv(4096):
                return
