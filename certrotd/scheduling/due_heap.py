"""A heap of what is due when: a tick costs what is due, not what there is."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import Generic, TypeVar

_SLACK = 64
T = TypeVar("T", bound=Hashable)


class DueHeap(Generic[T]):
    """The next moment of every member; each has one, and a later ``put`` replaces it.

    A change costs O(log n), amortized: what is replaced stays in the heap until it comes up, or
    until more than half of the heap is of that kind. Among equal moments the one put first leads.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, T]] = []
        self._current: dict[T, tuple[datetime, int, T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, member: T) -> bool:
        return member in self._current

    def __iter__(self) -> Iterator[T]:
        return iter(self._current)

    def put(self, member: T, when: datetime) -> None:
        """Look at ``member`` at ``when``, which replaces an earlier choice."""
        entry = (when, self._count, member)
        self._count += 1
        self._current[member] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._current) + _SLACK:
            self._rebuild()

    def remove(self, member: T) -> None:
        """Forget ``member``; one that is not there is fine."""
        self._current.pop(member, None)

    def next(self) -> datetime | None:
        """The earliest moment, None if there is none."""
        while self._heap:
            if self._current.get(self._heap[0][2]) is self._heap[0]:
                return self._heap[0][0]
            heapq.heappop(self._heap)  # it was replaced or removed
        return None

    def due(self, now: datetime) -> list[T]:
        """Take out every member whose moment has come, the earliest first."""
        members = []
        while (moment := self.next()) is not None and moment <= now:
            member = heapq.heappop(self._heap)[2]
            del self._current[member]
            members.append(member)
        return members

    def hasten(self, now: datetime) -> None:
        """Make everything due, in the order it would have come up; O(n)."""
        for _, _, member in sorted(self._current.values(), key=lambda entry: entry[:2]):
            self._current[member] = (now, self._count, member)
            self._count += 1
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = list(self._current.values())
        heapq.heapify(self._heap)
