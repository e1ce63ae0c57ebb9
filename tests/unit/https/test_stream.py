"""An answer that goes on: taken as far as it has come, and in bounded portions."""

from __future__ import annotations

from certrotd.https import stream as module
from certrotd.https.http1 import Exchange
from certrotd.https.stream import MOST, Stream


class Flood:
    """A connection on which there is always more."""

    def __init__(self) -> None:
        self.given = 0

    def pending(self) -> int:
        return 1

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def recv(self, size: int) -> bytes:
        self.given += 1
        return b"10000\r\n" + b"x" * 65536 + b"\r\n"

    def close(self) -> None:
        """Nothing is held."""


def test_a_server_that_never_pauses_is_read_in_portions() -> None:
    """It would be read until the memory is full, and whoever looks would never return."""
    exchange = Exchange("GET", "/", "host", {}, None)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange.begin(lambda: head, limit=100) is None
    flood = Flood()
    stream = Stream(flood, exchange)
    for _ in range(2):
        assert MOST - 65536 <= len(stream.read()) <= MOST + module._CHUNK
    assert not stream.over
