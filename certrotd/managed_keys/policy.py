"""What the configuration asks of one managed key, and what is known of it: values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certrotd.id import Id
from certrotd.kek.managed.port import ManagedState
from certrotd.lifecycle.attempts import Attempts
from certrotd.managed_keys.kind import KIND
from certrotd.managed_keys.retention import Retention
from certrotd.window import Window

LEAD = 10
"""A rotation begins when one in so many parts of the cryptoperiod is left."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration asks of one managed key.

    ``service`` and ``place`` are what people call the service and where it is, ``key`` is a digest
    of what says which key it is there, not of how certrotd logs in. What was seen longer ago than
    ``fresh`` is looked at again.
    """

    name: str
    service: str
    place: str
    key: str
    cryptoperiod: timedelta = timedelta(days=91)
    by_service: bool = False
    fresh: timedelta = timedelta(days=1)
    retention: Retention | None = None
    window: Window | None = None
    enabled: bool = True
    purpose: str | None = None
    owner: str | None = None
    classification: str = "internal"

    @property
    def id(self) -> Id:
        return Id(KIND, self.name)

    @property
    def lead(self) -> timedelta:
        """How long before the end of the cryptoperiod a rotation begins."""
        return self.cryptoperiod / LEAD


@dataclass(frozen=True, slots=True)
class Seen:
    """The key as its service showed it last, ``at`` that time.

    ``since`` is when its present version was made, or was seen first where the service does not
    say. ``key`` is as in the policy that it was seen by. ``retired_before`` is the version from
    which on certrotd has had it decrypt, "" if it never changed that.
    """

    state: ManagedState
    at: datetime
    since: datetime
    key: str
    retired_before: str = ""

    @property
    def lowered_from(self) -> str:
        """``retired_before``, if somebody lets older versions decrypt again; else ""."""
        ids = [each.id for each in self.state.versions]
        mark, first = self.retired_before, self.state.oldest_decrypting.id
        return mark if mark in ids and ids.index(first) < ids.index(mark) else ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one managed key; ``seen`` is None before the first look."""

    seen: Seen | None = None
    attempts: Attempts = field(default_factory=Attempts)

    def of(self, policy: Policy) -> Seen | None:
        """What was seen of the key that the configuration names now."""
        return self.seen if self.seen is not None and self.seen.key == policy.key else None


def after(state: ManagedState, before: Seen | None, *, at: datetime, key: str) -> Seen:
    """What is known once the service has shown ``state``; ``before`` is what was known."""
    before = before if before is not None and before.key == key else None
    since = state.present.created
    if since is None:
        same = before is not None and before.state.present.id == state.present.id
        since = before.since if same and before is not None else at
    return Seen(state, at, since, key, before.retired_before if before is not None else "")
