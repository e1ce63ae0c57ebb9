"""A fair queue: round robin between services, and at each between its parts (see Fate)."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from certrotd.lifecycle.subject import Fate

T = TypeVar("T", bound=Hashable)


@dataclass
class Pool(Generic[T]):
    """Who is at work, of at most ``slots`` at once.

    While there are others, one service or one part never has the last slot: what hangs with it
    does not stop the rest.
    """

    slots: int
    services: int = 1
    parts: int = 1
    running: dict[T, Fate] = field(default_factory=dict)
    _busy: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def full(self) -> bool:
        return len(self.running) >= self.slots

    def admits(self, service: str, part: str | None = None) -> bool:
        """Whether one more of this service, and of this part at it, may begin."""
        if self._busy["service", service] >= self._share(self.services):
            return False
        return part is None or self._busy["part", part] < self._share(self.parts)

    def enter(self, member: T, fate: Fate) -> None:
        self.running[member] = fate
        self._busy.update([("service", fate.service), ("part", fate.part)])

    def leave(self, member: T) -> None:
        fate = self.running.pop(member)
        self._busy.subtract([("service", fate.service), ("part", fate.part)])

    def _share(self, fates: int) -> int:
        return self.slots if fates < 2 else max(1, self.slots - 1)


class FairQueue(Generic[T]):
    """Members that are due, first come first served within each fate."""

    def __init__(self) -> None:
        self._services: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self._fates: dict[T, Fate] = {}

    def __len__(self) -> int:
        return len(self._fates)

    def __contains__(self, member: T) -> bool:
        return member in self._fates

    def put(self, member: T, fate: Fate) -> None:
        """Add a member that is not there yet."""
        assert member not in self._fates
        self._fates[member] = fate
        parts = self._services.setdefault(fate.service, OrderedDict())
        parts.setdefault(fate.part, deque()).append(member)

    def take(self, pool: Pool[T]) -> T | None:
        """The next one for which there is room; None if there is none. O(fates)."""
        if pool.full:
            return None
        for service, parts in self._services.items():
            if not pool.admits(service):
                continue
            for part in parts:
                if pool.admits(service, part):
                    return self._take(service, part)
        return None

    def remove(self, member: T) -> None:
        """Take out a member; one that is not there is fine. O(members of its fate)."""
        fate = self._fates.pop(member, None)
        if fate is not None:
            self._services[fate.service][fate.part].remove(member)
            self._tidy(fate.service, fate.part)

    def clear(self) -> list[T]:
        """Take out every member."""
        members = list(self._fates)
        self._services.clear()
        self._fates.clear()
        return members

    def _take(self, service: str, part: str) -> T:
        parts = self._services[service]
        member = parts[part].popleft()
        del self._fates[member]
        parts.move_to_end(part)
        self._services.move_to_end(service)
        self._tidy(service, part)
        return member

    def _tidy(self, service: str, part: str) -> None:
        parts = self._services[service]
        if not parts[part]:
            del parts[part]
        if not parts:
            del self._services[service]
