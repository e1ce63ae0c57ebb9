"""Clients that never stop: what they are shown, and what fails, while a certificate is replaced."""

import hashlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.parts.process import wait_until


class Handshakes:
    """What so many threads have seen: how often each leaf (SHA-256), and every failure in words."""

    def __init__(self, port: int, server_name: str) -> None:
        self._address, self._name = ("127.0.0.1", port), server_name
        self._ended = threading.Event()
        self.shown: Counter[str] = Counter()
        self.failed: list[str] = []

    def run(self) -> None:
        """One connection after the other, each with a request, until the end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while not self._ended.wait(0.005):  # a load, and not all of the machine
            try:
                self._ask(context)
            except OSError as error:
                self.failed.append(repr(error))

    def _ask(self, context: ssl.SSLContext) -> None:
        with (
            socket.create_connection(self._address, timeout=60) as connection,
            context.wrap_socket(connection, server_hostname=self._name) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
            tls.sendall(
                f"GET / HTTP/1.1\r\nHost: {self._name}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b""
            while part := tls.recv(4096):
                answer += part
        if not answer.startswith(b"HTTP/1.1 200"):
            raise OSError(f"answered {answer[:100]!r}")
        self.shown[hashlib.sha256(der).hexdigest()] += 1

    def await_more(self, leaf: str, times: int = 20) -> None:
        """Return when that leaf was shown so often once more."""
        before = self.shown[leaf]
        wait_until(lambda: self.shown[leaf] >= before + times, what=f"more of {leaf[:16]}")

    def end(self) -> None:
        """No connection is begun after it."""
        self._ended.set()


@contextmanager
def steady(port: int, server_name: str, *, threads: int = 2) -> Iterator[Handshakes]:
    """Clients of a port of loopback, until the end of the block."""
    seen = Handshakes(port, server_name)
    running = [threading.Thread(target=seen.run) for _ in range(threads)]
    for each in running:
        each.start()
    try:
        yield seen
    finally:
        seen.end()
        for each in running:
            each.join()
