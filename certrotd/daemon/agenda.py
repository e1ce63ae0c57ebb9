"""When each certificate is to be looked at next: a heap of names; time costs what is due."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime

_SLACK = 64


class Agenda:
    """The next moment of every name; a name has one, and a later ``put`` replaces it.

    A change costs O(log n), amortized: what is replaced stays in the heap until it comes up, or
    until more than half of the heap is of that kind. Among equal moments the one put first leads.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str]] = []
        self._current: dict[str, tuple[datetime, int, str]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, name: str) -> bool:
        return name in self._current

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def put(self, name: str, when: datetime) -> None:
        """Look at ``name`` at ``when``, and not when it was said before."""
        entry = (when, self._count, name)
        self._count += 1
        self._current[name] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._current) + _SLACK:
            self._rebuild()

    def remove(self, name: str) -> None:
        """Forget ``name``; one that is not there is fine."""
        self._current.pop(name, None)

    def next(self) -> datetime | None:
        """The earliest moment, None if there is none."""
        while self._heap:
            if self._current.get(self._heap[0][2]) is self._heap[0]:
                return self._heap[0][0]
            heapq.heappop(self._heap)  # it was replaced or removed
        return None

    def due(self, now: datetime) -> list[str]:
        """Take out every name whose moment has come, the earliest first."""
        names = []
        while (moment := self.next()) is not None and moment <= now:
            name = heapq.heappop(self._heap)[2]
            del self._current[name]
            names.append(name)
        return names

    def hasten(self, now: datetime) -> None:
        """Make everything due, in the order it would have come up; O(n)."""
        for _, _, name in sorted(self._current.values()):
            self._current[name] = (now, self._count, name)
            self._count += 1
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = list(self._current.values())
        heapq.heapify(self._heap)
