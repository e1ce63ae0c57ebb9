"""psycopg's connection, with an end to every wait for the server.

libpq gives up only connecting. A server that is stopped, or a network that drops everything, would
hold up a query for ever.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.waiting import Ready, Wait

from certrotd.clock import Deadline, SystemClock

T = TypeVar("T")
Asking = Generator[Wait, Ready | int, T]


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server is silent for ``seconds`` over one request."""

    seconds = 60.0

    def wait(self, gen: Asking[T], *more: Any, **named: Any) -> T:
        """As Connection.wait; raises OperationalError at the deadline."""
        return super().wait(self._until(gen, Deadline(SystemClock(), self.seconds)), *more, **named)

    def _until(self, asking: Asking[T], end: Deadline) -> Asking[T]:
        try:
            wanted = next(asking)
            while True:
                ready = yield wanted
                if not ready and end.passed:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {self.seconds:.0f} seconds")
                wanted = asking.send(ready)
        except StopIteration as told:
            found: T = told.value
            return found
