"""How long a connection may keep its place while nothing becomes of it."""

from __future__ import annotations

import socket
import threading

from certrotd.clock import Clock, Deadline

HURRY = 0.05
"""How long, in seconds, if others wait for the place; it is looked as often whether they do."""
_MOMENT = 0.001


class Timeout:
    """``seconds`` altogether, whatever comes meanwhile; HURRY for as long as ``crowded`` is set."""

    def __init__(self, clock: Clock, seconds: float, crowded: threading.Event) -> None:
        self._whole = Deadline(clock, seconds)
        self._hurried = Deadline(clock, HURRY)
        self._crowded = crowded

    def receive(self, connection: socket.socket, most: int) -> bytes:
        """What has come, at most so many bytes; none if the client hung up. Raises OSError."""
        while not self._over:
            connection.settimeout(self._step)
            try:
                return connection.recv(most)
            except TimeoutError:
                continue
        raise TimeoutError

    def acquire(self, slots: threading.Semaphore) -> bool:
        """Whether a slot became free in time, which then is taken."""
        while not self._over:
            if slots.acquire(timeout=self._step):
                return True
        return False

    @property
    def _step(self) -> float:
        return max(_MOMENT, min(HURRY, self._whole.remaining))

    @property
    def _over(self) -> bool:
        return self._whole.passed or (self._crowded.is_set() and self._hurried.passed)
