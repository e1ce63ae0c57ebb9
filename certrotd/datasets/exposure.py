"""Which keys of a keyring others may know, and so what such keys protected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Exposure:
    """Which keys of a keyring others may know: versions by key id, and those compromised."""

    versions: Mapping[str, int] = field(default_factory=dict)
    compromised: frozenset[int] = frozenset()

    def of(self, origin: str) -> int | None:
        """The newest compromised version that may have wrapped a content key from ``origin`` on."""
        first = self.versions.get(origin)
        known = [each for each in self.compromised if first is not None and each >= first]
        return max(known, default=None)
