"""Where it is kept how much was stored under a key when others were known to know it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certrotd.jsontext import parsed
from certrotd.rotation.step import JSON
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument


@dataclass(frozen=True)
class Noted:
    """What one version protected at ``at``: how many values of each dataset.

    ``unknown`` says why some could not be counted; ``contains`` which secrets are in each. The key
    was used from ``first`` to ``last``, as far as anybody told.
    """

    version: int
    at: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    contains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None

    def to_json(self) -> dict[str, JSON]:
        """As state and the audit log have it."""
        return {
            "version": self.version,
            "at": self.at.isoformat(),
            "counts": dict(self.counts),
            "unknown": dict(self.unknown),
            "contains": {name: list(each) for name, each in self.contains.items()},
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
        }


def exposures_in(document: Document) -> TypedDocument[Mapping[int, Noted]]:
    """What is known of each compromised version of a keyring."""
    return TypedDocument(
        document,
        lambda data: _parse(parsed(data)),
        lambda value: json.dumps([each.to_json() for each in value.values()]).encode(),
        loss=": the audit log has it, too",
    )


def _parse(told: Any) -> Mapping[int, Noted]:
    if not isinstance(told, list):
        raise ValueError("not what was noted")
    try:
        found = [_noted(each) for each in told]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not what was noted") from error
    return {each.version: each for each in found}


def _noted(told: Any) -> Noted:
    return Noted(
        int(told["version"]),
        datetime.fromisoformat(told["at"]),
        {str(name): int(each) for name, each in told["counts"].items()},
        {str(name): str(each) for name, each in told["unknown"].items()},
        {str(name): tuple(map(str, each)) for name, each in told["contains"].items()},
        _moment(told["first"]),
        _moment(told["last"]),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None
