"""How long a key encrypted, and by how much that was longer than its cryptoperiod."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from certrotd.keyring.states import State, Version


@dataclass(frozen=True, slots=True)
class Period:
    """From its first activation, or its adoption, until it last ceased to encrypt.

    ``end`` is the time of the report where it still encrypts. Time in which a rollback had it
    decrypt only counts, for it is what was protected under it that ages.
    """

    begin: datetime
    end: datetime
    running: bool

    @property
    def length(self) -> timedelta:
        return max(self.end - self.begin, timedelta(0))

    def exceeded(self, cryptoperiod: timedelta | None) -> timedelta | None:
        """By how much it is longer; None where there is no cryptoperiod, zero if it was kept."""
        return None if cryptoperiod is None else max(self.length - cryptoperiod, timedelta(0))


def period(version: Version, *, now: datetime) -> Period | None:
    """The originator usage period (NIST SP 800-57 part 1, 5.3); None if it never encrypted."""
    began = next((each.at for each in version.transitions if each.to is State.ACTIVE), None)
    if began is None:
        return None
    if version.state is State.ACTIVE:
        return Period(began, now, running=True)
    until = version.encrypted_until
    return Period(began, began if until is None else until, running=False)
