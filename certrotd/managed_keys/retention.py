"""How long old versions of a managed key decrypt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, takewhile

from certrotd.kek.managed.port import KeyVersion, ManagedState


@dataclass(frozen=True, slots=True)
class Retention:
    """The newest ``keep`` versions decrypt; each older one ``after`` the next began to encrypt."""

    keep: int
    after: timedelta

    def due(self, state: ManagedState) -> datetime | None:
        """When the oldest version that decrypts is to be retired; None if it is to be kept."""
        return next((at for at, _ in self._ends(state)), None)

    def oldest(self, state: ManagedState, *, now: datetime) -> KeyVersion | None:
        """The oldest version that must decrypt still; None if none before it is to be retired."""
        over = list(takewhile(lambda each: each[0] <= now, self._ends(state)))
        return over[-1][1] if over else None

    def broken(self, state: ManagedState, *, now: datetime) -> bool:
        """Whether a version does not decrypt, or is trimmed, that must decrypt still."""
        first = state.versions.index(state.oldest_decrypting)
        if not first and (state.min_available_version or 1) == 1:
            return False
        made = state.versions[first].created
        return first + self.keep > len(state.versions) or made is None or made + self.after > now

    def _ends(self, state: ManagedState) -> list[tuple[datetime, KeyVersion]]:
        """For each version that decrypts and is not to be kept: its end, and the version after it.

        From the oldest; it ends with one whose successor has no date.
        """
        pairs = [*pairwise(state.versions)][: max(0, len(state.versions) - self.keep)]
        ends = [(newer.created, newer) for older, newer in pairs if older.decrypts]
        known = takewhile(lambda each: each[0] is not None, ends)
        return [(made + self.after, newer) for made, newer in known if made is not None]
