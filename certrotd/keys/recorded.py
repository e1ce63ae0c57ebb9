"""What the audit log records of a keyring's rotation once it is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from certrotd.audit.record import Happened
from certrotd.id import Id
from certrotd.rotation.step import JSON

_EVENTS = {
    "activated": "key.activated",
    "retire": "key.retired",
    "disable": "key.disabled",
    "restore": "key.restored",
    "compromise": "key.compromised",
    "destroyed": "key.destroyed",
}


def recorded_of(subject: Id, line: Mapping[str, Any]) -> Sequence[Happened]:
    """Each transition of the rotation, by its line of history."""
    name, rotation, facts = str(subject), str(line["id"]), line["facts"]
    happened = []
    if "fingerprint" in facts:
        details = {each: facts.get(each) for each in ("version", "fingerprint", "id")}
        happened.append(Happened("key.generated", name, rotation, details))
    if line["outcome"] == "finished":
        for fact, event in _EVENTS.items():
            if fact in facts:
                more: dict[str, JSON] = {"version": facts[fact]}
                if fact == "destroyed":
                    more["evidence"] = facts.get("evidence")
                happened.append(Happened(event, name, rotation, more))
    return happened
