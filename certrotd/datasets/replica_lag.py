"""How far replicas are behind: how long ago the oldest write was that one of them lacks.

Positions in the primary's log are compared, so no clock of another machine matters, and a replica
that is broken or cut off is behind, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple, Protocol

from certrotd.clock import Clock
from certrotd.errors import Transient
from certrotd.wording import span

Position = Mapping[str, int]
"""How far each stream of a log has come; PostgreSQL has one, MariaDB one for each domain."""
LOOKS = 8
"""So often within the ceiling they are looked at."""
REST = 0.5
LONGEST_REST = 60.0
"""Seconds between two looks at who is waited for, and until that is given up for some time."""


class Replication(Protocol):
    """A primary and its replicas; every method raises Failure."""

    def written(self) -> Position:
        """The end of the primary's log."""
        ...

    def applied(self) -> Mapping[str, Position]:
        """What each replica has of it, by its name for people."""
        ...


class Lag(NamedTuple):
    """The replica that is furthest behind, and by how many seconds."""

    replica: str
    seconds: float

    @property
    def words(self) -> str:
        """The same for people."""
        return f"the replica {self.replica} is {span(timedelta(seconds=self.seconds))} behind"


@dataclass
class ReplicaLag:
    """Looks at the replicas of one primary; ``ceiling`` is how far behind they may be, in seconds.

    Who is found too far behind is waited for until it has all that was noted, and so is everyone at
    the beginning. Of a replica that is seen no longer the last position counts.
    """

    replication: Replication
    ceiling: float
    _noted: deque[tuple[Position, float]] = field(default_factory=deque)
    _applied: dict[str, Position] = field(default_factory=dict)
    _waits: bool = True
    _next_look: float = 0.0

    def excess(self, clock: Clock) -> Lag | None:
        """Who is waited for, None if nobody is, or a moment after the last look; raises Failure."""
        now = clock.monotonic()
        if not self._waits and now < self._next_look:
            return None
        if not self._waits or not self._noted:
            self._noted.append((self.replication.written(), now))
        self._next_look = now + self.ceiling / LOOKS
        self._applied.update(self.replication.applied())
        while self._noted and all(map(self._has_oldest, self._applied)):
            self._noted.popleft()
        lag = self._lag(clock.monotonic()) if self._noted else None
        self._waits = lag is not None and (self._waits or lag.seconds > self.ceiling)
        return lag if self._waits else None

    def _lag(self, now: float) -> Lag:
        behind = next(each for each in self._applied if not self._has_oldest(each))
        return Lag(behind, now - self._noted[0][1])

    def _has_oldest(self, replica: str) -> bool:
        applied, (position, _) = self._applied[replica], self._noted[0]
        return all(applied.get(stream, -1) >= at for stream, at in position.items())


def waiting(replicas: ReplicaLag | None, clock: Clock) -> Iterator[Lag]:
    """Who is waited for, at each look; raises Transient once that takes long."""
    begun = clock.monotonic()
    while replicas is not None and (lag := replicas.excess(clock)) is not None:
        yield lag
        if clock.monotonic() - begun >= LONGEST_REST:
            raise Transient(lag.words, hint="replica_lag_ms says how far it may be")
        clock.sleep(REST)
