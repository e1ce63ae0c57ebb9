"""Restore drills: every one of the audit log, and the last that is known of each keyring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from certrotd.assessment.exceptions import Exceptional, Kind
from certrotd.assessment.facts import KeyringFacts
from certrotd.audit.record import AuditRecord
from certrotd.errors import InvalidInput
from certrotd.escrow.drill import SUCCEEDED, UNSUCCESSFUL, Drilled


@dataclass(frozen=True)
class Drills:
    """The drills that the audit log tells of, and its records that do not say of which."""

    told: tuple[Drilled, ...]
    exceptions: tuple[Exceptional, ...]

    def added(self, keyrings: Sequence[KeyringFacts]) -> Iterator[KeyringFacts]:
        """The keyrings with their drills of the log, oldest first; one that both know is one."""
        for keyring in keyrings:
            own = [each for each in self.told if each.keyring == keyring.name]
            every = {each.at: each for each in (*own, *keyring.drills)}
            yield replace(keyring, drills=tuple(every[at] for at in sorted(every)))

    def others(self, keyrings: Sequence[KeyringFacts]) -> Iterator[Drilled]:
        """Those of keyrings that are no more, or cannot be read."""
        known = {each.name for each in keyrings}
        yield from (each for each in self.told if each.keyring not in known)


def drills(records: Iterable[AuditRecord]) -> Drills:
    """What the records tell of restore drills."""
    told, exceptions = [], []
    for record in records:
        if record.event not in (SUCCEEDED, UNSUCCESSFUL):
            continue
        try:
            found = Drilled.from_json(record.details)
            if found.at.tzinfo is None or found.event != record.event:
                raise InvalidInput("no drill")
            told.append(found)
        except InvalidInput:
            text = f"record {record.seq} ({record.event}) does not say which drill it is of"
            exceptions.append(Exceptional(Kind.MALFORMED, text, seq=record.seq))
    return Drills(tuple(told), tuple(exceptions))
