"""What somebody else has rotated, or wants to be looked at: seen in a cluster's objects."""

from __future__ import annotations

from collections.abc import Callable

from certrotd.kube.api import revision_of
from certrotd.kube.objects import KIND, label
from certrotd.kube.wakes import Wakes
from certrotd.kube.watch import Watched


class SecretChanges:
    """Of one ``kind``: what the watches of records and of wakes tell."""

    def __init__(
        self,
        records: Watched,
        told: Watched,
        wakes: Wakes,
        kind: str,
        mine: Callable[[str], bool],
    ) -> None:
        self._records = records
        self._told = told
        self._wakes = wakes
        self._kind = kind
        self._mine = mine
        self._revisions: dict[str, str] | None = None
        self._taken: dict[str, str] | None = None

    def subjects(self) -> frozenset[str]:
        """Those whose records changed since the last time; none the first time.

        Raises DiskTrouble.
        """
        found = self._records.look()
        now = {
            name: revision_of(each)
            for name, each in found.items()
            if label(each, KIND) == self._kind
        }
        before, self._revisions = self._revisions, now
        if before is None:
            return frozenset()  # all are looked at after this
        return frozenset(name for name in {*before, *now} if before.get(name) != now.get(name))

    def woken(self) -> frozenset[str]:
        """As Changes.woken(); raises DiskTrouble."""
        now = {name: revision_of(each) for name, each in self._told.look().items()}
        if now == self._taken:
            return frozenset()
        taken = self._wakes.take(self._kind, self._mine)
        self._taken = now
        return taken
