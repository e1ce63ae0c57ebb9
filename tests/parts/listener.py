"""A listening socket whose connections a function of the test serves, in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

Serve = Callable[[socket.socket], object]


class Listener:
    """Gives its connections to ``serve``, one after the other, while used as a context manager.

    It listens on loopback, or on the Unix socket ``path``. ``count`` is how many there have been.
    """

    def __init__(
        self, serve: Serve, *, host: str = "127.0.0.1", port: int = 0, path: Path | None = None
    ) -> None:
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if path is not None:
            self._family = socket.AF_UNIX
        self._socket = socket.socket(self._family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port) if path is None else str(path))
        self._socket.listen(64)
        self._serve = serve
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.host = host
        self.port: int = self._socket.getsockname()[1] if path is None else 0
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

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        with socket.socket(self._family, socket.SOCK_STREAM) as last:
            last.connect(self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def silent(connection: socket.socket) -> None:
    """Accepts, and says nothing until the other side has left."""
    while connection.recv(4096):
        pass
