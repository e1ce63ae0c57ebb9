"""What an assessor is to see first: whatever is not as policy, or the audit log, has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """The codes of exceptions, the gravest first: that is the order in which they are listed."""

    CHAIN = "audit-log-broken"
    UNREADABLE = "keyring-unreadable"
    UNRECORDED = "transition-not-recorded"
    UNKNOWN = "record-without-transition"
    DIFFERS = "record-differs"
    MALFORMED = "record-unreadable"
    TWICE = "recorded-twice"
    LATE = "recorded-late"
    CRYPTOPERIOD = "cryptoperiod-exceeded"
    LIMIT = "message-limit-exceeded"
    NO_CRYPTOPERIOD = "no-cryptoperiod"
    NO_BACKUP = "no-backup"
    BACKUP_UNREADABLE = "backup-unreadable"
    NO_DRILL = "no-drill"
    DRILL_FAILED = "drill-failed"
    REHEARSAL_FAILED = "rehearsal-failed"
    NOT_WRAPPED = "not-wrapped"
    NOBODY = "nobody-responsible"
    UNSAID = "purpose-not-said"


ORDER = {kind: index for index, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Exceptional:
    """One exception; of the audit log as a whole it has no keyring, of a keyring no version."""

    kind: Kind
    text: str
    keyring: str = ""
    version: int | None = None
    at: datetime | None = None
    seq: int | None = None
