"""A fair queue: round robin between issuers, and at each between registered domains."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Group:
    """What shares a fate: a CA that hangs, a zone whose servers do."""

    issuer: str
    domain: str


@dataclass
class Pool(Generic[T]):
    """Who is at work, of at most ``slots`` at once.

    While there are others, one issuer or one domain never has the last slot: what hangs with it
    does not stop the rest.
    """

    slots: int
    issuers: int = 1
    domains: int = 1
    running: dict[T, Group] = field(default_factory=dict)
    _busy: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def full(self) -> bool:
        return len(self.running) >= self.slots

    def admits(self, issuer: str, domain: str | None = None) -> bool:
        """Whether one more of this issuer, and of this domain at it, may begin."""
        if self._busy["issuer", issuer] >= self._share(self.issuers):
            return False
        return domain is None or self._busy["domain", domain] < self._share(self.domains)

    def enter(self, member: T, group: Group) -> None:
        self.running[member] = group
        self._busy.update([("issuer", group.issuer), ("domain", group.domain)])

    def leave(self, member: T) -> None:
        group = self.running.pop(member)
        self._busy.subtract([("issuer", group.issuer), ("domain", group.domain)])

    def _share(self, groups: int) -> int:
        return self.slots if groups < 2 else max(1, self.slots - 1)


class FairQueue(Generic[T]):
    """Members that are due, first come first served within each group."""

    def __init__(self) -> None:
        self._issuers: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self._groups: dict[T, Group] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, member: T) -> bool:
        return member in self._groups

    def put(self, member: T, group: Group) -> None:
        """Add a member that is not there yet."""
        assert member not in self._groups
        self._groups[member] = group
        domains = self._issuers.setdefault(group.issuer, OrderedDict())
        domains.setdefault(group.domain, deque()).append(member)

    def take(self, pool: Pool[T]) -> T | None:
        """The next one for which there is room; None if there is none. O(groups)."""
        if pool.full:
            return None
        for issuer, domains in self._issuers.items():
            if not pool.admits(issuer):
                continue
            for domain in domains:
                if pool.admits(issuer, domain):
                    return self._take(issuer, domain)
        return None

    def remove(self, member: T) -> None:
        """Take out a member; one that is not there is fine. O(members of its group)."""
        group = self._groups.pop(member, None)
        if group is not None:
            self._issuers[group.issuer][group.domain].remove(member)
            self._tidy(group.issuer, group.domain)

    def clear(self) -> list[T]:
        """Take out every member."""
        members = list(self._groups)
        self._issuers.clear()
        self._groups.clear()
        return members

    def _take(self, issuer: str, domain: str) -> T:
        domains = self._issuers[issuer]
        member = domains[domain].popleft()
        del self._groups[member]
        domains.move_to_end(domain)
        self._issuers.move_to_end(issuer)
        self._tidy(issuer, domain)
        return member

    def _tidy(self, issuer: str, domain: str) -> None:
        domains = self._issuers[issuer]
        if not domains[domain]:
            del domains[domain]
        if not domains:
            del self._issuers[issuer]
