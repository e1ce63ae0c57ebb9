"""What a look at something served or kept found: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from certrotd.id import Id

if TYPE_CHECKING:
    from certrotd.config.notifications import AlertKind

EXPIRED, EXPIRING = "expired", "expiring"
DAMAGED, MISMATCH = "damaged", "served_mismatch"
"""The kinds of findings that are more than words; each wing has others besides."""

FILES = "files"
"""The sort of what is on disk of a subject."""
RECORDS = "records"
"""The sort of the DNS records that a subject needs."""


class FindingSeverity(StrEnum):
    """An error breaks clients, or will soon; a warning leaves time."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``words`` are a line for people and stay the same while it lasts.

    ``alert`` is the kind of alert that it raises and ``todo`` what helps, where a wing knows better
    than that something is served which should not be.
    """

    kind: str
    words: str
    severity: FindingSeverity = FindingSeverity.ERROR
    alert: AlertKind | None = None
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look at one thing found; without ``findings`` all is well.

    ``sort`` is "endpoint" for an address of ``watch:``, "target" for an endpoint of a target, FILES
    or RECORDS. ``what`` is an address (host:port) or else the subject's name. ``sni`` is what was
    asked for (empty without an address), ``about`` the subject of ours that it should be (None: any
    other), ``target`` the target it is an endpoint of. ``not_after`` and ``fingerprint`` are of
    what was found, None if nothing was. ``unsure``: more may be wrong, which a look soon after
    this one shows.
    """

    sort: str
    what: str
    at: datetime
    sni: str = ""
    about: Id | None = None
    target: str | None = None
    not_after: datetime | None = None
    fingerprint: str | None = None
    findings: tuple[Finding, ...] = ()
    unsure: bool = False

    @property
    def is_endpoint(self) -> bool:
        """Whether it is at an address."""
        return self.sort not in (FILES, RECORDS)

    @property
    def key(self) -> str:
        """The same for every look at the same thing, and for no other; fit for people too."""
        if not self.is_endpoint:
            return f"{self.sort} of {self.about or self.what}"
        where = f"{self.what} ({self.sni})"
        return f"{name_of(self.about)} on {self.target} at {where}" if self.target else where

    def to_json(self) -> dict[str, object]:
        """As listings show it; moments stay moments."""
        return {
            "key": self.key,
            "sort": self.sort,
            "what": self.what,
            "sni": self.sni or None,
            "kind": self.about.kind if self.about else None,
            "name": name_of(self.about),
            "target": self.target,
            "not_after": self.not_after,
            "fingerprint": self.fingerprint,
            "at": self.at,
            "findings": [
                {"kind": each.kind, "severity": each.severity, "words": each.words}
                for each in self.findings
            ],
        }


@dataclass(frozen=True, slots=True)
class EarlierLooks:
    """What earlier looks at the same thing found.

    ``counts`` says how often in a row each kind was found, ``told`` are the findings reported last.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    told: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What to report of a look, and what to remember of it."""

    watched: Watched
    held: EarlierLooks


def name_of(subject: Id | None) -> str | None:
    """The name of a subject, if there is one."""
    return subject.name if subject else None
