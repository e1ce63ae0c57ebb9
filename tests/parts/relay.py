"""A second loopback address for a server that listens on 127.0.0.1 alone."""

import contextlib
import socket
import socketserver
import threading
from typing import Self

Address = tuple[str, int]


class Relay:
    """Passes DNS by UDP and TCP, byte for byte, from one address on to another.

    BIND listens only on addresses an interface has, and giving `lo` a second one takes root and
    changes the machine; any program can bind 127.0.0.2.
    """

    def __init__(self, listen: Address, to: Address) -> None:
        self._servers: list[socketserver.BaseServer] = [
            _make_tcp(listen, to),
            _make_udp(listen, to),
        ]

    def start(self) -> Self:
        """Starts passing on."""
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Closes the address; connections there are end with their peers."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True
    block_on_close = False


def _make_tcp(listen: Address, to: Address) -> _TcpServer:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(to, timeout=30) as upstream,
            ):
                back = threading.Thread(target=_copy, args=(upstream, self.request), daemon=True)
                back.start()
                _copy(self.request, upstream)
                back.join()

    return _TcpServer(listen, Handler)


def _make_udp(listen: Address, to: Address) -> _UdpServer:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            datagram, answers = self.request
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream,
            ):
                upstream.settimeout(30)
                upstream.connect(to)
                upstream.send(datagram)
                answers.sendto(upstream.recv(65_535), self.client_address)

    return _UdpServer(listen, Handler)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
