"""What somebody else has rotated, or wants to be looked at: seen in a cluster's objects."""

from __future__ import annotations

from certrotd.clock import Clock
from certrotd.kube.objects import KIND, NAME, Objects, annotation, revision_of
from certrotd.kube.wakes import Wakes


class SecretChanges:
    """Of one ``kind``; the API server is asked every ``every`` seconds at most."""

    def __init__(
        self, objects: Objects, wakes: Wakes, kind: str, clock: Clock, every: float
    ) -> None:
        self._objects = objects
        self._wakes = wakes
        self._kind = kind
        self._clock = clock
        self._every = every
        self._revisions: dict[str, str] | None = None
        self._asked: dict[str, float] = {}

    def subjects(self) -> frozenset[str]:
        """Those whose records changed since the last time; none the first time.

        Raises DiskTrouble.
        """
        if not self._is_time("subjects"):
            return frozenset()
        found = self._objects.find({KIND: self._kind})
        now = {name: revision_of(each) for each in found if (name := annotation(each, NAME))}
        before, self._revisions = self._revisions, now
        if before is None:
            return frozenset()  # all are looked at after this
        return frozenset(name for name in {*before, *now} if before.get(name) != now.get(name))

    def woken(self) -> frozenset[str]:
        """As Changes.woken(); raises DiskTrouble."""
        return self._wakes.take(self._kind) if self._is_time("woken") else frozenset()

    def _is_time(self, what: str) -> bool:
        now = self._clock.monotonic()
        if what in self._asked and now - self._asked[what] < self._every:
            return False
        self._asked[what] = now
        return True
