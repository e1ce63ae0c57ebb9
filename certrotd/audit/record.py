"""One record of the audit log, and the chain of hashes that leads from each to the next.

A record is a line of canonical JSON (sorted keys, no spaces, ASCII) of the FIELDS; ``hash`` is the
SHA-256 of the same without ``hash``, and ``prev`` the hash of the record before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from certrotd.errors import InvalidInput
from certrotd.jsontext import parsed
from certrotd.rotation.step import JSON

MAX_LINE = 256 * 1024
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
FIELDS = frozenset({"seq", "at", "event", "subject", "rotation", "details", "prev", "hash"})
_TEXTS = ("at", "event", "subject", "rotation", "prev", "hash")

# What the log says of itself.
RECOVERED = "audit.recovered"
DAMAGED = "audit.damaged"

# These events tell which rotations' outcomes are still to be recorded.
OPENING = frozenset({"rotation.began", "rotation.resumed", "rotation.parked", "rotation.stuck"})
SETTLING = frozenset({"rotation.finished", "rotation.rolled_back", "rotation.interrupted"})


@dataclass(frozen=True)
class Happened:
    """An event in the past tense, and the id of what it happened to (or a word, as audit).

    ``rotation`` is the id of the rotation it belongs to, or empty. ``details`` never hold secrets.
    """

    event: str
    subject: str
    rotation: str = ""
    details: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """The last record of a chain, by number and hash; of an empty one, START."""

    seq: int
    hash: str


START = Head(0, "0" * 64)


@dataclass(frozen=True)
class AuditRecord:
    """One record; ``at`` is in UTC, ISO 8601 with microseconds, and one for a whole append."""

    seq: int
    at: str
    event: str
    subject: str
    rotation: str
    details: Mapping[str, JSON]
    prev: str
    hash: str

    @property
    def head(self) -> Head:
        """The head of the chain that ends here."""
        return Head(self.seq, self.hash)

    def follows(self, head: Head) -> bool:
        """Whether this is the next record of the chain that ``head`` ends."""
        return self.seq == head.seq + 1 and self.prev == head.hash

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the FIELDS."""
        return {**self._content(), "hash": self.hash}

    def line(self) -> bytes:
        """The record as it stands in the log, with its newline."""
        return self._line

    @cached_property
    def _line(self) -> bytes:
        return canonical(self.to_json()) + b"\n"

    def _content(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "at": self.at,
            "event": self.event,
            "subject": self.subject,
            "rotation": self.rotation,
            "details": dict(self.details),
            "prev": self.prev,
        }


def chained(head: Head, happened: Happened, *, at: datetime) -> AuditRecord:
    """The record that goes behind ``head``; InvalidInput if it is too long to be read back."""
    content: dict[str, Any] = {
        "seq": head.seq + 1,
        "at": at.isoformat(timespec="microseconds"),
        "event": happened.event,
        "subject": happened.subject,
        "rotation": happened.rotation,
        "details": dict(happened.details),
        "prev": head.hash,
    }
    record = AuditRecord(**content, hash=_digest(content))
    if len(record.line()) > MAX_LINE:
        raise InvalidInput(
            f"the audit record {happened.event} of {happened.subject} is longer than "
            f"{MAX_LINE} bytes"
        )
    return record


def parse(line: bytes) -> AuditRecord | None:
    """The record of a line, with or without its newline; None if any byte of it is not as written.

    That it belongs where it stands is for its neighbours to say.
    """
    text = line.removesuffix(b"\n")
    try:
        value = parsed(text)
        if not isinstance(value, dict) or value.keys() != FIELDS or canonical(value) != text:
            return None
        typed = (
            type(value["seq"]) is int
            and isinstance(value["details"], dict)
            and all(isinstance(value[name], str) for name in _TEXTS)
        )
    except (ValueError, RecursionError):
        return None
    if not typed or value["hash"] != _digest({k: v for k, v in value.items() if k != "hash"}):
        return None
    return AuditRecord(**value)


def unsettled(before: Mapping[str, str], record: AuditRecord) -> dict[str, str]:
    """The rotation by subject whose outcome is not recorded, after one more record.

    A rotation may end under another subject than it began with: those of state format 1 were names.
    """
    if record.event not in OPENING | SETTLING:
        return dict(before)
    after = {k: v for k, v in before.items() if record.subject != k and record.rotation != v}
    if record.event in OPENING:
        after[record.subject] = record.rotation
    return after


def canonical(value: Mapping[str, Any]) -> bytes:
    """The one way ``value`` is written; ValueError for a number that JSON does not have."""
    return _JSON.encode(value).encode()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()
