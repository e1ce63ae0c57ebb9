"""An alert and its end, as rules make them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from certrotd.config.notifications import AlertKind, Severity
from certrotd.id import Id

_VARYING = re.compile(r"\S*[0-9]\S*")


@dataclass(frozen=True, slots=True)
class Alert:
    """One problem that an operator should know of; all alerts with one ``key`` form one incident.

    Another ``cause`` makes it a change; times, counts and ids within it do not count.
    ``lasting``: it is a state that ends some time, not an event.
    """

    kind: AlertKind
    severity: Severity
    key: str
    title: str
    what: str
    todo: str
    subject: Id | None = None
    rotation: str = ""
    cause: str = ""
    lasting: bool = True

    @property
    def likeness(self) -> str:
        """The same for alerts that report the same: the kind and a few letters."""
        text = f"{self.severity} {_VARYING.sub('#', self.cause)}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.kind} {digest[:16]}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The incident with this key is over; ``words`` say how in a sentence, "" to say nothing."""

    key: str
    words: str
    subject: Id | None = None


AlertEvent = Alert | Resolved


def rotation_key(subject: Id) -> str:
    """The key of all rotation alerts of ``subject``."""
    return f"rotation/{subject}"


def command(what: str, subject: Id) -> str:
    """The command that an alert asks for."""
    return f"certrotd {what} {subject}"
