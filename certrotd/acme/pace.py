"""How long to wait between two looks at something the CA is working on."""

from __future__ import annotations

from collections.abc import Callable

import requests

from certrotd.clock import Deadline
from certrotd.errors import Failure
from certrotd.https.waits import asked_wait

FIRST, GROWTH, LONGEST = 0.02, 2.0, 3.0
SLOW = 1.0
LAST_LOOK = 1.0  # seconds kept for a last look where the CA asks for more patience than is left
SHORTEST_AT_THE_END = 0.25


class Pace:
    """Pauses as the CA's Retry-After asks for them, otherwise 0.02 s doubling to 3 s."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._next = FIRST

    def slow_down(self) -> None:
        """Something failed that may mend by itself: from now on at least a second."""
        self._next = max(self._next, SLOW)

    def wait(self, response: requests.Response | None, *, late: Callable[[], Failure]) -> None:
        """Pause after ``response``; raise what ``late`` makes once the deadline is here.

        A Retry-After beyond the deadline is cut: what the CA is checking is taken away when we
        give up, so a last look is worth more than its wish.
        """
        left = self.deadline.remaining
        if left <= SHORTEST_AT_THE_END:
            raise late()  # rather than ask with no time for an answer
        header = response.headers.get("Retry-After") if response is not None else None
        asked = asked_wait(header, now=self.deadline.clock.now())
        seconds = (asked.total_seconds() if asked else 0.0) or self._next
        self._next = min(self._next * GROWTH, LONGEST)
        self.deadline.pause(min(seconds, max(left - LAST_LOOK, SHORTEST_AT_THE_END)))
