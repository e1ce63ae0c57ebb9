"""The work of one kind of subject: what is due waits here for one of the slots of its kind.

Hours of one kind's work never keep another kind's waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from certrotd.id import Id
from certrotd.lifecycle.subject import Fate
from certrotd.scheduling.fair_queue import FairQueue, Pool


class WorkPool:
    """What is due and what runs; what spends from an account comes after what does not.

    Last comes what only asks whether it is due: whoever does not answer that keeps nothing waiting.
    """

    def __init__(self, slots: int, fates: Collection[Fate]) -> None:
        services, parts = {fate.service for fate in fates}, {fate.part for fate in fates}
        self._pool: Pool[Id] = Pool(slots, len(services), len(parts))
        self._spending: FairQueue[Id] = FairQueue()
        self._others: FairQueue[Id] = FairQueue()
        self._asking: FairQueue[Id] = FairQueue()

    @property
    def running(self) -> Collection[Id]:
        """What has a slot."""
        return self._pool.running

    def put(self, subject: Id, fate: Fate, *, spends: bool, asks: bool = False) -> None:
        """Have it wait for a slot."""
        queue = self._asking if asks else self._spending if spends else self._others
        queue.put(subject, fate)

    def remove(self, subject: Id) -> None:
        """It waits no more, if it did."""
        self._spending.remove(subject)
        self._others.remove(subject)
        self._asking.remove(subject)

    def clear(self) -> list[Id]:
        """Nothing waits any more; what did."""
        return [*self._spending.clear(), *self._others.clear(), *self._asking.clear()]

    def next(self, affords: Callable[[Id], bool]) -> Id | None:
        """The next one, without a slot yet; of what spends, one that can."""
        subject = self._others.take(self._pool)
        while subject is None:
            subject = self._spending.take(self._pool)
            if subject is None:
                return self._asking.take(self._pool)
            if not affords(subject):
                subject = None
        return subject

    def enter(self, subject: Id, fate: Fate) -> None:
        """Give it a slot."""
        self._pool.enter(subject, fate)

    def leave(self, subject: Id) -> None:
        """Take its slot back."""
        self._pool.leave(subject)
