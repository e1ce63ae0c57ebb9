"""What a look at something served or kept found: values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from certrotd.id import Id

Sort = Literal["endpoint", "target", "files"]
"""An address of ``watch:``, an endpoint of a target, or what is on disk of a certificate."""


class FindingKind(StrEnum):
    """What can be wrong."""

    EXPIRED = "expired"
    EXPIRING = "expiring"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    BROKEN_CHAIN = "broken_chain"
    SERVED_MISMATCH = "served_mismatch"
    COPIES_DIFFER = "copies_differ"
    KEY_MISMATCH = "key_mismatch"
    KEY_EXPOSED = "key_exposed"
    CHAIN_NOT_OFFERED = "chain_not_offered"
    DAMAGED = "damaged"
    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    UNREACHABLE = "unreachable"
    UNREADABLE = "unreadable"


class FindingSeverity(StrEnum):
    """An error breaks clients, or will soon; a warning leaves time."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``words`` are a line for people and stay the same while it lasts."""

    kind: FindingKind
    words: str
    severity: FindingSeverity = FindingSeverity.ERROR


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look at one thing came to; without ``findings`` all is well.

    ``subject`` is an address (host:port) or, for files, the certificate's name. ``sni`` is what
    was asked for (empty for files), ``certificate`` the one of ours that it should be (None: no
    matter), ``target`` the target it is an endpoint of. ``not_after`` and ``fingerprint`` are the
    leaf's that was found, None if none was. ``unsure``: there may be more that is wrong, which the
    next look, soon, will tell.
    """

    sort: Sort
    subject: str
    at: datetime
    sni: str = ""
    certificate: Id | None = None
    target: str | None = None
    not_after: datetime | None = None
    fingerprint: str | None = None
    findings: tuple[Finding, ...] = ()
    unsure: bool = False

    @property
    def key(self) -> str:
        """The same for every look at the same thing, and for no other; fit for people too."""
        match self.sort:
            case "files":
                return f"files of {self.subject}"
            case "target":
                return (
                    f"{name_of(self.certificate)} on {self.target} at {self.subject} ({self.sni})"
                )
            case "endpoint":
                return f"{self.subject} ({self.sni})"

    def to_json(self) -> dict[str, object]:
        """As listings show it; moments stay moments."""
        return {
            "key": self.key,
            "sort": self.sort,
            "subject": self.subject,
            "sni": self.sni or None,
            "kind": self.certificate.kind if self.certificate else None,
            "name": self.certificate.name if self.certificate else None,
            "target": self.target,
            "not_after": self.not_after,
            "fingerprint": self.fingerprint,
            "at": self.at,
            "findings": [
                {"kind": each.kind, "severity": each.severity, "words": each.words}
                for each in self.findings
            ],
        }


def name_of(subject: Id | None) -> str | None:
    """The name of what has one."""
    return subject.name if subject else None
