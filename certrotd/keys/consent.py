"""Where it is kept what people say of the destruction of a keyring's versions.

What cannot be read is never taken for nothing: then no key goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.jsontext import parsed
from certrotd.keyring.consent import Consent
from certrotd.keyring.evidence import Confirmation, Hold
from certrotd.rotation.step import JSON
from certrotd.state.ports import ABSENT, Document


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
