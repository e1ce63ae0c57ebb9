"""A staggered schedule: every member once a period, each at its own moment.

Ten thousand looks an hour must not come in one second, nor cost a queue entry each.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

PACE = 0.2
T = TypeVar("T")


class StaggeredSchedule(Generic[T]):
    """Members come up every ``every`` seconds from ``start`` on, spread by their ``label``.

    In the beginning they come up one by one, ``PACE`` seconds apart, so that little is unknown for
    long. Whoever asks seldom gets each twice at most, however many rounds were missed.
    """

    def __init__(
        self, members: Iterable[T], label: Callable[[T], str], *, every: float, start: float
    ) -> None:
        self._every = every
        self._start = start
        self._label = label
        self._members = sorted(members, key=self._phase)
        self._greeted = 0
        self._turns = 0

    def due(self, now: float) -> Iterator[T]:
        """Those whose moment has come since the last call; some may come twice in the first round.

        ``now`` is monotonic time in seconds.
        """
        count = len(self._members)
        while self._greeted < count and self._start + self._greeted * PACE <= now:
            yield self._members[self._greeted]
            self._greeted += 1
        if count:
            behind = int((now - self._start) // self._every) - 1
            self._turns = max(self._turns, behind * count)
        while count and self._next() <= now:
            yield self._members[self._turns % count]
            self._turns += 1

    def _next(self) -> float:
        round_, index = divmod(self._turns, len(self._members))
        return self._start + round_ * self._every + self._phase(self._members[index])

    def _phase(self, member: T) -> float:
        return zlib.crc32(self._label(member).encode()) / 2**32 * self._every
