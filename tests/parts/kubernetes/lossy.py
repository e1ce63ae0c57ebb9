"""A way to an API server on which answers get lost."""

import contextlib
import socket
import socketserver
import threading
from typing import Self


class LossyWay:
    """Passes connections on to an address of this machine, byte for byte.

    After `lose_answers()` whatever the server says is thrown away and the connection is cut: what
    was asked was done, and nobody is told. After `hold_answers()` it is thrown away, too, but the
    connection stays as it is.
    """

    def __init__(self, to: tuple[str, int]) -> None:
        self._losing = threading.Event()
        self._holding = threading.Event()
        self.lost = 0
        way = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), socket.create_connection(to) as server:
                    back = threading.Thread(
                        target=way._back, args=(server, self.request), daemon=True
                    )
                    back.start()
                    _copy(self.request, server)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def lose_answers(self) -> None:
        """From now on."""
        self._losing.set()

    def hold_answers(self) -> None:
        """From now on, and nobody notices."""
        self._holding.set()

    def pass_answers(self) -> None:
        """Again."""
        self._losing.clear()
        self._holding.clear()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self._losing.is_set():
                    self.lost += 1
                    break
                if not self._holding.is_set():
                    client.sendall(data)
        for each in (server, client):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
