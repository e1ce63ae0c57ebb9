"""A Lease as it was read: who holds it, alone or together, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrotd.jsontext import parsed
from certrotd.kube.api import Object, revision_of
from certrotd.kube.objects import GROUP, Objects, annotation

HOLDER, SHARERS = f"{GROUP}/holder", f"{GROUP}/sharers"
"""Annotations: who holds it, in words, and who share it: {id: [words, renewed]}."""
WITHIN = f"{GROUP}/within"
"""Another: whoever holds it does for as long as they hold another one: "ID NAME" of that."""
DURATION = 15
SLACK = 3.0
"""So many seconds a Lease may be renewed late: clocks of API servers differ a little."""


@dataclass(frozen=True)
class FoundLease:
    """One Lease; ``within``: the name of another that its holder must have, and their id there."""

    revision: str
    uid: str
    spec: Mapping[str, Any]
    words: str
    sharers: Mapping[str, tuple[str, datetime]]
    within: tuple[str, str] | None = None

    @property
    def holder(self) -> str:
        """The id of who holds it alone, or did until it ran out; empty if it was let go of."""
        return str(self.spec.get("holderIdentity") or "")

    @property
    def renewed(self) -> datetime | None:
        """When it was renewed last."""
        return moment(self.spec.get("renewTime"))

    def alone(self, now: datetime) -> str | None:
        """Who holds it alone, in words; None if nobody does, or not any more."""
        renewed = self.renewed
        if not self.holder or renewed is None or self._over(renewed, now):
            return None
        return self.words or "another process"

    def together(self, now: datetime) -> dict[str, tuple[str, datetime]]:
        """Who share it now."""
        return {each: told for each, told in self.sharers.items() if not self._over(told[1], now)}

    def left(self, renewed: datetime | None, now: datetime) -> timedelta | None:
        """How long it lasts still, if it is not renewed any more, and a moment."""
        return None if renewed is None else renewed - now + self._lasts + timedelta(seconds=1)

    @property
    def _lasts(self) -> timedelta:
        """By the duration that its holder has written."""
        told = self.spec.get("leaseDurationSeconds")
        lasts = told if isinstance(told, int) and told > 0 else DURATION
        return timedelta(seconds=lasts + SLACK)

    def _over(self, renewed: datetime, now: datetime) -> bool:
        """Whether it ran out.

        So has one that was renewed in the future: the server's clock was put back, and whoever
        holds it would have renewed it since.
        """
        return abs(now - renewed) > self._lasts


def read_lease(objects: Objects, name: str) -> FoundLease | None:
    """The Lease of that name, None without one; raises DiskTrouble."""
    found = objects.read(name)
    return None if found is None else found_in(found)


def found_in(found: Object) -> FoundLease:
    """The Lease that an object of the API is."""
    return FoundLease(
        revision_of(found),
        str(found["metadata"].get("uid") or ""),
        found.get("spec") or {},
        annotation(found, HOLDER),
        _sharers(annotation(found, SHARERS)),
        _within(annotation(found, WITHIN)),
    )


def micro(at: datetime) -> str:
    """As MicroTime of the API has it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: object) -> datetime | None:
    """What a MicroTime says; None if it is none."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _sharers(text: str) -> dict[str, tuple[str, datetime]]:
    """What the annotation says; nothing that anybody else has written there."""
    try:
        told = parsed(text) if text else {}
        found = {str(each): (str(of), moment(at)) for each, (of, at) in told.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    return {each: (of, at) for each, (of, at) in found.items() if at is not None}


def _within(text: str) -> tuple[str, str] | None:
    holder, _, name = text.partition(" ")
    return (name, holder) if name else None
