"""An answer that goes on for minutes, read as far as it has come."""

from __future__ import annotations

import select
import ssl
import weakref
from typing import Any

from certrotd.dial import ready
from certrotd.https.http1 import Exchange, Malformed

_CHUNK = 64 * 1024
MOST = 16 * 1024 * 1024
"""Bytes taken at a time, of a server that sends faster than anybody reads."""


class Stream:
    """The content of one answer, whose head was read, on a connection of its own."""

    def __init__(self, sock: Any, exchange: Exchange) -> None:
        self._sock = sock
        weakref.finalize(self, sock.close)
        self._exchange = exchange
        self.over = False
        """Whether its end has come."""

    def read(self) -> bytes:
        """What has come since the last time, without a wait; raises OSError and Malformed.

        Of more than MOST bytes the rest comes the next time.
        """
        first, self.over = self._exchange.more(None)
        content, taken = bytearray(first), 0
        while not self.over and (self._sock.pending() or ready(self._sock, select.POLLIN)):
            if taken >= MOST:
                break
            self._sock.setblocking(False)
            try:
                data = self._sock.recv(_CHUNK)
            except (ssl.SSLWantReadError, BlockingIOError):  # no more than a part of a record
                break
            if not data and not self.over:
                self._exchange.more(data)
                raise Malformed("the connection was closed in the middle of an answer")
            taken += len(data)
            more, self.over = self._exchange.more(data)
            content += more
        return bytes(content)

    def close(self) -> None:
        """Let go of the connection."""
        self._sock.close()
