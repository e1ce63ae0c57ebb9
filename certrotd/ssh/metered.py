"""A socket of which nobody reads without end."""

from __future__ import annotations

import socket
from typing import Any, Self

MOST = 16 * 1024 * 1024
"""So many bytes a server may send in one connection: a delivery takes a few hundred thousand."""


class SentTooMuch(OSError):
    """The other side sends more than there is to say."""


class Metered(socket.socket):
    """A connected socket that gives up once the other side has sent ``MOST`` bytes."""

    left = MOST

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """The same connection; the socket that it was is closed."""
        metered = cls(fileno=connection.detach())
        metered.setblocking(False)
        return metered

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = super().recv_into(buffer, nbytes, flags)
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise SentTooMuch(f"it has sent more than {MOST >> 20} MiB")
