"""How long requests and waits for others may take once the process is told to stop."""

from __future__ import annotations

from typing import Protocol

from certrotd.clock import Clock, Deadline
from certrotd.dial import Timeout
from certrotd.rotation.outcome import Stopped

GRACE = 3.0
_LOOK = 0.5


class StoppableTimeout(Timeout):
    """To its deadline, and for seconds more when told to stop.

    What has begun is better answered: a new order whose URL nobody heard is one in vain, and so is
    a record of which nobody knows whether it was published.
    """

    def __init__(self, limit: Deadline, grace: float = GRACE) -> None:
        super().__init__(limit)
        self._grace = grace
        self._last: Deadline | None = None

    def begin(self) -> None:
        """Raises Stopped if the process has been told to stop: nothing new is begun then."""
        begin(self.limit.clock)

    def check(self) -> None:
        """Raises TimeoutError when the time is over, Stopped when it is for that reason."""
        if self._last is None and self.limit.clock.stopping():
            self._last = Deadline(self.limit.clock, self._grace)
        if self._last is not None and self._last.passed:
            raise _stopped()
        super().check()


class StoppableDeadline(Deadline):
    """As ``limit``; it has passed as soon as the process is told to stop."""

    def __init__(self, limit: Deadline) -> None:
        super().__init__(limit.clock, limit.remaining)

    @property
    def remaining(self) -> float:
        return 0.0 if self.clock.stopping() else super().remaining


class TurnDeadline(Deadline):
    """As ``limit``, for the wait for a lock that another process or thread holds.

    Nobody waits for a turn once the process is told to stop, not even to undo something: what a
    turn is for waits for the next start.
    """

    def __init__(self, limit: Deadline) -> None:
        super().__init__(limit.clock, limit.remaining)

    def pause(self, seconds: float) -> None:
        """As Deadline.pause; raises Stopped once the process is told to stop."""
        begin(self.clock)
        super().pause(seconds)


class Acquirable(Protocol):
    """A lock or a semaphore of the threading module."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...


def acquired(lock: Acquirable, limit: Deadline) -> bool:
    """Take a lock that other threads may hold; False where it is not free until the deadline.

    Raises Stopped where it is not free when the process is told to stop.
    """
    left = limit.remaining
    while not lock.acquire(timeout=min(_LOOK, left)):
        begin(limit.clock)
        left -= _LOOK
        if left <= 0:
            return False
    return True


def begin(clock: Clock) -> None:
    """Raises Stopped if the process has been told to stop: nothing new is begun then."""
    if clock.stopping():
        raise _stopped()


def _stopped() -> Stopped:
    return Stopped("the process was told to stop")
