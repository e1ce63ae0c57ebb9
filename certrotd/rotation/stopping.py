"""How long a request may take once the process is told to stop."""

from __future__ import annotations

from certrotd.clock import Deadline
from certrotd.dial import Timeout
from certrotd.rotation.outcome import Stopped

GRACE = 3.0


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
        if self.limit.clock.stopping():
            raise Stopped("the process was told to stop")

    def check(self) -> None:
        """Raises TimeoutError when the time is over, Stopped when it is for that reason."""
        if self._last is None and self.limit.clock.stopping():
            self._last = Deadline(self.limit.clock, self._grace)
        if self._last is not None and self._last.passed:
            raise Stopped("the process was told to stop")
        super().check()


class StoppableDeadline(Deadline):
    """As ``limit``; it has passed as soon as the process is told to stop."""

    def __init__(self, limit: Deadline) -> None:
        super().__init__(limit.clock, limit.remaining)

    @property
    def remaining(self) -> float:
        return 0.0 if self.clock.stopping() else super().remaining
