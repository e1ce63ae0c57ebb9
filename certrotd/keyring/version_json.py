"""A version of a key as JSON, without its material: as keyrings and their backups have it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrotd.keyring.keyring import Entry, Use
from certrotd.keyring.material import Algorithm
from certrotd.keyring.states import Code, State, Transition, Version


def version_json(version: Version, entry: Entry) -> dict[str, Any]:
    """All that is known of a version but its material, as JSON; version_read() reads it."""
    return {
        "number": version.number,
        "before": version.before,
        "id": entry.id,
        "algorithm": entry.algorithm.value,
        "fingerprint": entry.fingerprint,
        "iv": base64.b64encode(entry.iv).decode(),
        "use": {
            "messages": entry.use.messages,
            "bytes": entry.use.bytes,
            "first": _time(entry.use.first),
            "last": _time(entry.use.last),
        },
        "transitions": [
            {"to": each.to.value, "at": _time(each.at), "code": each.code.value, "why": each.why}
            for each in version.transitions
        ],
    }


def version_read(each: Mapping[str, Any]) -> tuple[Version, Entry]:
    """What version_json() told, the entry without material.

    Raises KeyError, ValueError, TypeError, AttributeError or InvalidInput for anything else.
    """
    passed = tuple(
        Transition(State(t["to"]), datetime.fromisoformat(t["at"]), Code(t["code"]), t["why"])
        for t in each["transitions"]
    )
    use = each["use"]
    entry = Entry(
        id=each["id"],
        algorithm=Algorithm(each["algorithm"]),
        fingerprint=each["fingerprint"],
        secret=None,
        iv=base64.b64decode(each["iv"], validate=True),
        use=Use(use["messages"], use["bytes"], _at(use["first"]), _at(use["last"])),
    )
    return Version(each["number"], passed, each["before"]), entry


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _at(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
