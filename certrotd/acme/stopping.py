"""How long a request to a CA may take once the process is told to stop."""

from __future__ import annotations

from certrotd.clock import Deadline
from certrotd.dial import Timeout
from certrotd.rotation.outcome import Stopped

GRACE = 3.0


class StoppableTimeout(Timeout):
    """To its deadline, and for seconds more when told to stop.

    What has begun is better answered: a new order whose URL nobody heard is one in vain.
    """

    def __init__(self, limit: Deadline) -> None:
        super().__init__(limit)
        self._last: Deadline | None = None

    def begin(self) -> None:
        """Raises Stopped if the process has been told to stop: nothing new is begun then."""
        if self.limit.clock.stopping():
            raise Stopped("the process was told to stop")

    def check(self) -> None:
        """Raises TimeoutError when the time is over, Stopped when it is for that reason."""
        if self._last is None and self.limit.clock.stopping():
            self._last = Deadline(self.limit.clock, GRACE)
        if self._last is not None and self._last.passed:
            raise Stopped("the process was told to stop")
        super().check()
