"""What people say of the destruction of key versions: holds that forbid it, and confirmations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from certrotd.keyring.evidence import Confirmation, Hold
from certrotd.keyring.states import NotAllowed, State, Version

DESTROYABLE = (State.DISABLED, State.COMPROMISED)
"""The states that a version is destroyed from, and its destruction confirmed in."""


@dataclass(frozen=True)
class Consent:
    """By version: who holds it, and who confirmed its destruction."""

    holds: Mapping[int, Hold] = field(default_factory=dict)
    confirmed: Mapping[int, tuple[Confirmation, ...]] = field(default_factory=dict)

    def held(self, version: Version, hold: Hold) -> Consent:
        """With a hold in place of the one before; raises NotAllowed for a destroyed version."""
        if version.state is State.DESTROYED:
            raise NotAllowed(f"version {version.number} is destroyed")
        if not hold.holds(hold.at):
            raise NotAllowed("a hold ends in the future")
        return replace(self, holds={**self.holds, version.number: hold})

    def released(self, number: int) -> Consent:
        """Without the hold of a version; raises NotAllowed if there is none."""
        if number not in self.holds:
            raise NotAllowed(f"version {number} is not held")
        return replace(self, holds={n: each for n, each in self.holds.items() if n != number})

    def confirming(self, version: Version, confirmation: Confirmation) -> Consent:
        """With one more confirmation; raises NotAllowed before it is withheld, and for a second."""
        number = version.number
        if version.state not in DESTROYABLE:
            raise NotAllowed(
                f"version {number} is {version.state}",
                hint="its destruction is confirmed while it is disabled or compromised",
            )
        if confirmation.by in self.of(version):
            raise NotAllowed(f"{confirmation.by} has confirmed it: another person has to")
        given = (*self.confirmed.get(number, ()), confirmation)
        return replace(self, confirmed={**self.confirmed, number: given})

    def of(self, version: Version) -> tuple[str, ...]:
        """Who has confirmed the destruction since the version came into its state."""
        given = self.confirmed.get(version.number, ())
        return tuple(each.by for each in given if each.at >= version.since)
