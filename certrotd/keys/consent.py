"""What people say of the destruction of key versions: holds that forbid it, and confirmations.

Kept beside the keyring. What cannot be read is never taken for nothing: then no key goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.jsontext import parsed
from certrotd.keyring.evidence import Confirmation, Hold
from certrotd.keyring.states import NotAllowed, State, Version
from certrotd.rotation.step import JSON
from certrotd.state.ports import ABSENT, Document

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


@dataclass(frozen=True)
class KeptConsent:
    """That of one keyring, in a document."""

    document: Document

    def read(self) -> Consent:
        """What people said; raises NeedsOperator where that cannot be read, and DiskTrouble."""
        return self._read()[0]

    def change(self, change: Callable[[Consent], Consent]) -> Consent:
        """Write what ``change`` makes of it; raises Conflict, too, and what ``change`` raises."""
        before, revision = self._read()
        after = change(before)
        self.document.write(_render(after), expected=revision)
        return after

    def _read(self) -> tuple[Consent, str]:
        try:
            content = self.document.read()
            return (_parse(content.data), content.revision) if content else (Consent(), ABSENT)
        except (ValueError, InvalidInput) as error:
            place = self.document.place
            raise NeedsOperator(
                f"{place} cannot be read: {error}",
                hint="it says which keys must not be destroyed: put it back from a backup, or "
                "move it away and hold them again (certrotd audit show has every hold)",
            ) from None


def _render(consent: Consent) -> bytes:
    holds: dict[str, JSON] = {
        str(number): [each.why, each.by, each.at.isoformat(), each.until and each.until.isoformat()]
        for number, each in consent.holds.items()
    }
    confirmed: dict[str, JSON] = {
        str(number): [[one.by, one.at.isoformat()] for one in each]
        for number, each in consent.confirmed.items()
    }
    return json.dumps({"holds": holds, "confirmed": confirmed}).encode()


def _parse(data: bytes) -> Consent:
    match parsed(data):
        case {"holds": dict() as holds, "confirmed": dict() as confirmed}:
            return Consent(
                {int(number): _hold(each) for number, each in holds.items()},
                {
                    int(number): tuple(map(_confirmation, each))
                    for number, each in confirmed.items()
                },
            )
    raise ValueError("it is not what certrotd wrote")


def _hold(told: object) -> Hold:
    match told:
        case [str() as why, str() as by, str() as at, (str() | None) as until]:
            return Hold(why, by, _moment(at), _moment(until) if until else None)
    raise ValueError("it has a hold that is none")


def _confirmation(told: object) -> Confirmation:
    match told:
        case [str() as by, str() as at]:
            return Confirmation(by, _moment(at))
    raise ValueError("it has a confirmation that is none")


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at
