"""What comes of a look where something may pass by itself: for every wing alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from certrotd.lifecycle.finding import EarlierLooks, Settled, Watched

TWICE = 2


@dataclass(frozen=True, slots=True)
class Looked:
    """CheckResult: findings of a ``passing`` kind are reported once they were found twice in a row.

    What it was before a rotation stands until that is over: while it is ``moving``.
    """

    watched: Watched
    moving: bool
    passing: Collection[str]

    def settle(self, earlier: EarlierLooks, *, most: int | None = None) -> Settled:
        """As CheckResult.settle."""
        if self.moving:
            return Settled(replace(self.watched, findings=earlier.told, unsure=True), earlier)
        times = TWICE if most is None else min(TWICE, most)
        counts = {each.kind: earlier.counts.get(each.kind, 0) + 1 for each in self.watched.findings}
        told = tuple(
            each
            for each in self.watched.findings
            if each.kind not in self.passing or counts[each.kind] >= times
        )
        unsure = len(told) < len(self.watched.findings)
        settled = replace(self.watched, findings=told, unsure=unsure)
        return Settled(settled, EarlierLooks(counts, told))
