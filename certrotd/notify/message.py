"""What is sent, and the port of those who send it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from certrotd.clock import Deadline
from certrotd.config.notifications import Severity

Occasion = Literal["raised", "changed", "reminder", "resolved", "test"]

_SAID = {"changed": "changed: ", "reminder": "still: ", "resolved": "resolved: ", "test": ""}


@dataclass(frozen=True, slots=True)
class Message:
    """One alert as people and programs get it.

    ``kind`` is one of config.notifications.Kind, ``test``, or ``several`` for a digest. ``subject``
    is the id of what it is about, as in ``certificate/web``, or "". ``what`` happened and what to
    do (``todo``) are sentences, ``title`` is one line, ``host`` the machine certrotd runs on,
    ``key`` the same for every message of one incident; ``mark`` is the sender's own and is
    not sent.
    """

    host: str
    at: datetime
    state: Occasion
    kind: str
    severity: Severity
    subject: str
    title: str
    what: str
    todo: str = ""
    rotation: str = ""
    key: str = ""
    mark: str = ""

    @property
    def id(self) -> str:
        """The same however often this message is sent, and no other's."""
        parts = (self.host, self.key, self.state, self.at.isoformat(), self.title)
        return f"msg_{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"

    @property
    def heading(self) -> str:
        """The line a list of messages shows."""
        return f"certrotd on {self.host}: {_SAID.get(self.state, '')}{self.title}"

    @property
    def text(self) -> str:
        """All of it for people: what happened, and what to do."""
        return f"{self.what}\n\n{self.todo}" if self.todo else self.what


class Notifier(Protocol):
    """A way to people."""

    def send(self, message: Message, *, deadline: Deadline) -> None:
        """Deliver before the deadline, or raise.

        Transient: a later try may work. Any other Failure: only if somebody changes something. A
        message (by its ``id``) is tried again after a failure; those who have it already should
        not get it twice.
        """
        ...
