"""For how long API servers that are away are waited for, in all of a process."""

from __future__ import annotations

import math

READING = 10.0
"""So many seconds whoever only looks waits, before somebody who waits for an answer."""
_TOO_SHORT = 0.1


class Patience:
    """Seconds that are ``left``: those in which an answer came do not count.

    Without a ``limit`` each act waits for as long as it may itself.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = math.inf if limit is None else limit
        self.left = self.limit

    def spend(self, seconds: float) -> None:
        """So many passed without an answer."""
        self.left -= seconds
        if self.left < _TOO_SHORT:
            self.left = 0.0
