"""Rehearsals of an emergency: every one of the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from certrotd.assessment.exceptions import Exceptional, Kind
from certrotd.audit.record import AuditRecord
from certrotd.errors import InvalidInput
from certrotd.keyring.rehearsal import SUCCEEDED, UNSUCCESSFUL, Rehearsed


@dataclass(frozen=True)
class Rehearsals:
    """Those that the audit log tells of, and its records that do not say of which."""

    told: tuple[Rehearsed, ...]
    exceptions: tuple[Exceptional, ...]


def rehearsals(records: Iterable[AuditRecord]) -> Rehearsals:
    """What the records tell of rehearsals."""
    told, exceptions = [], []
    for record in records:
        if record.event not in (SUCCEEDED, UNSUCCESSFUL):
            continue
        try:
            found = Rehearsed.from_json(record.details)
            if found.event != record.event:
                raise InvalidInput("no rehearsal")
            told.append(found)
        except InvalidInput:
            text = f"record {record.seq} ({record.event}) does not say which rehearsal it is of"
            exceptions.append(Exceptional(Kind.MALFORMED, text, seq=record.seq))
    return Rehearsals(tuple(told), tuple(exceptions))
