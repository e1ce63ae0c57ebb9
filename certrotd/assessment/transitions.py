"""A key version's transition as a record of the audit log: written and read by one module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from certrotd.audit.record import AuditRecord, Happened
from certrotd.errors import InvalidInput
from certrotd.escrow.restore import Destruction
from certrotd.id import Id
from certrotd.keyring.states import Code, State, Transition
from certrotd.rotation.step import JSON

PREFIX = "key."


def _event(code: Code) -> str:
    return PREFIX + code.value.replace("-", "_")


EVENTS: Mapping[str, Code] = {_event(code): code for code in Code}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for it: a person ``by_hand``, or the schedule.

    ``actor`` is an account or a name, empty where nobody is known.
    """

    by_hand: bool = False
    actor: str = ""

    def __str__(self) -> str:
        return self.actor or ("somebody by hand" if self.by_hand else "the schedule")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A transition as the audit log has it, in the record ``seq``, appended at ``appended``."""

    keyring: str
    number: int
    transition: Transition
    rotation: str
    asked: Asked
    seq: int
    appended: datetime


def happened(
    keyring: Id, number: int, transition: Transition, rotation: str, asked: Asked = Asked()
) -> Happened:
    """What is written into the audit log of a transition of version ``number``."""
    details: dict[str, JSON] = {
        "version": number,
        "to": transition.to.value,
        "at": transition.at.isoformat(),
        "why": transition.why,
        "by_hand": asked.by_hand,
    }
    if asked.actor:
        details["actor"] = asked.actor
    return Happened(_event(transition.code), str(keyring), rotation, details)


def recorded(record: AuditRecord) -> Recorded | None:
    """The transition that a record tells of; None if it tells of something else.

    Raises InvalidInput if it is one by its event, and does not say which.
    """
    code = EVENTS.get(record.event)
    if code is None:
        return None
    told = record.details
    try:
        number, to, at = told["version"], State(str(told["to"])), told["at"]
        transition = Transition(to, datetime.fromisoformat(str(at)), code, str(told["why"]))
        appended = datetime.fromisoformat(record.at)
        name = Id.parse(record.subject).name
        if type(number) is not int or transition.at.tzinfo is None or appended.tzinfo is None:
            raise ValueError("no transition")
    except (KeyError, ValueError, InvalidInput):
        raise InvalidInput(
            f"record {record.seq} ({record.event}) does not say which transition it is of"
        ) from None
    asked = Asked(told.get("by_hand") is True, str(told.get("actor", "")))
    return Recorded(name, number, transition, record.rotation, asked, record.seq, appended)


def destructions(records: Iterable[AuditRecord], keyring: str) -> tuple[Destruction, ...]:
    """What the log has of destroyed versions of a keyring: no restore brings them back.

    Raises InvalidInput for a record that does not say which version it is of.
    """
    found = (recorded(each) for each in records if EVENTS.get(each.event) is Code.DESTROYED)
    return tuple(
        Destruction(each.number, each.transition.at, each.transition.why)
        for each in found
        if each is not None and each.keyring == keyring
    )
