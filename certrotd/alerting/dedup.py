"""Deduplication: which alerts a notifier has delivered already; pure transitions.

An incident is sent when it is new, when it has changed, and again after a while. It counts as sent
when it was delivered: what was lost on the way is sent at the next occasion.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.id import ONLY_KIND, Id, is_name
from certrotd.jsontext import parsed
from certrotd.notify.message import Occasion
from certrotd.pki.certificate import moment
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

MOST = 10_000
"""So many incidents are remembered, the latest."""

VERSION = 2
OF_SUBJECTS = frozenset(
    {"rotation", "recovered", "late", "unplanned", "damaged", "acknowledgement", "adopt", "issuer"}
)
"""The incidents that each subject has of its own, as in the key ``rotation/certificate/web``."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """One incident: the ``likeness`` that was ``told`` then, and the one that is on its way."""

    likeness: str = ""
    told: datetime | None = None
    on_its_way: str | None = None


def occasion(
    known: AlertState | None, likeness: str, *, now: datetime, remind: timedelta
) -> Occasion | None:
    """Why to send an incident that is met now, or None.

    A clock that was set back since makes it wait for ``remind`` from now at most.
    """
    if known is None:
        return "raised"
    if known.on_its_way is not None:
        return None if known.on_its_way == likeness else "changed"
    if known.told is None or known.likeness != likeness:
        return "changed"
    return "reminder" if abs(now - known.told) >= remind else None


class Deduplicator:
    """Every incident by its key, at most MOST of them."""

    def __init__(self, known: Mapping[str, AlertState] | None = None) -> None:
        self._known: dict[str, AlertState] = dict(known or {})

    def met(self, key: str, likeness: str, *, now: datetime, remind: timedelta) -> Occasion | None:
        """Why to send an incident, which then is on its way; None if it is known."""
        known = self._known.get(key)
        why = occasion(known, likeness, now=now, remind=remind)
        if why is not None:
            self._known.pop(key, None)
            self._known[key] = replace(known or AlertState(), on_its_way=likeness)
            while len(self._known) > MOST:
                del self._known[next(iter(self._known))]
        return why

    def delivered(self, key: str, likeness: str, *, at: datetime) -> None:
        """What was sent ``at`` that time has arrived; what has changed or is over stays so."""
        known = self._known.get(key)
        if known is not None:
            rest = None if known.on_its_way == likeness else known.on_its_way
            self._known[key] = AlertState(likeness, at, rest)

    def lost(self, key: str, likeness: str) -> None:
        """It will not arrive."""
        known = self._known.get(key)
        if known is None or known.on_its_way != likeness:
            return
        if known.told is None:
            del self._known[key]
        else:
            self._known[key] = replace(known, on_its_way=None)

    def over(self, key: str) -> str | None:
        """Forget an incident; the likeness that was told, or is on its way."""
        known = self._known.pop(key, None)
        return None if known is None else known.on_its_way or known.likeness

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forget the incidents whose keys are not wanted."""
        for key in [key for key in self._known if not wanted(key)]:
            del self._known[key]

    def __len__(self) -> int:
        return len(self._known)

    def to_json(self) -> dict[str, Any]:
        """What was delivered."""
        return {
            key: [known.likeness, known.told.isoformat()]
            for key, known in self._known.items()
            if known.told is not None
        }


@dataclass(frozen=True)
class AlertsDocument:
    """What outlives the process: ledgers by notifier, and the rotations that were left to wait.

    ``failing`` are those that fail because of a service, by its name.
    """

    ledgers: Mapping[str, Deduplicator]
    waiting: frozenset[Id] = frozenset()
    failing: Mapping[str, Sequence[Id]] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """What the document ``alerts`` holds."""
        told = {name: ledger.to_json() for name, ledger in self.ledgers.items()}
        document = {
            "version": VERSION,
            "told": told,
            "waiting": [str(subject) for subject in sorted(self.waiting)],
            "failing": {name: [str(each) for each in ids] for name, ids in self.failing.items()},
        }
        return json.dumps(document, separators=(",", ":")).encode()


def alerts_in(document: Document, report: Callable[[str], None]) -> TypedDocument[AlertsDocument]:
    """The alerts that were sent, kept across restarts."""
    return TypedDocument(document, from_json, AlertsDocument.to_json, report=report)


def from_json(data: bytes) -> AlertsDocument | None:
    """What AlertsDocument.to_json wrote; None if it is something else.

    Version 1 knew certificates alone, by their names, as in the key ``rotation/web``.
    """
    try:
        document = parsed(data)
        old = document["version"] == 1
        if not old and document["version"] != VERSION:
            return None
        keyed, subject = (_with_kind, _certificate) if old else (str, Id.parse)
        ledgers = {
            str(name): Deduplicator(
                {
                    keyed(key): AlertState(str(like), moment(told))
                    for key, (like, told) in each.items()
                }
            )
            for name, each in document["told"].items()
        }
        waiting = frozenset(subject(each) for each in document["waiting"])
        failing = {
            str(name): tuple(Id.parse(each) for each in ids)
            for name, ids in document.get("failing", {}).items()
        }
        return AlertsDocument(ledgers, waiting, failing)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidInput):
        return None


def _with_kind(key: str) -> str:
    topic, _, what = key.partition("/")
    about, space, name = what.rpartition(" ")
    of_one = topic in OF_SUBJECTS or (topic == "trouble" and about in ("", "watch"))
    if of_one and is_name(name):
        return f"{topic}/{about}{space}{_certificate(name)}"
    return key


def _certificate(name: str) -> Id:
    return Id(ONLY_KIND, name)
