"""Where the chain goes on when log and head file disagree: pure, from what both of them hold.

A crash leaves whole records of one append, or a torn line, behind what the head knows: those are
kept, this is cut away. Anything else is damage: nothing is removed, the chain goes on from what
the head knows, and the gap shows at every verification from then on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from certrotd.audit.head import Anchor
from certrotd.audit.record import (
    DAMAGED,
    RECOVERED,
    START,
    AuditRecord,
    Happened,
    Head,
    parse,
    unsettled,
)
from certrotd.rotation.step import JSON

SUBJECT = "audit"


@dataclass(frozen=True)
class End:
    """Where the next record goes.

    ``keep`` is how many bytes of the newest file stay; None: all, and ``broken_line`` says that
    they do not end with a newline. ``said`` is what has to be recorded about it first.
    """

    tip: Head
    waiting: Mapping[str, str]
    keep: int | None = None
    broken_line: bool = False
    said: Happened | None = None

    @property
    def damage(self) -> str:
        """What was done to the log, in words; empty if nothing was, or a crash explains it."""
        if self.said is None or self.said.event != DAMAGED:
            return ""
        return str(self.said.details["why"])


@dataclass
class _Walk:
    """Records that follow each other from ``tip`` on, and the bytes they take."""

    tip: Head
    waiting: dict[str, str]
    end: int = 0
    times: set[str] = field(default_factory=set)

    def on(self, record: AuditRecord, size: int) -> None:
        self.tip = record.head
        self.waiting = unsettled(self.waiting, record)
        self.end += size
        self.times.add(record.at)


def recover(anchor: Anchor, before: AuditRecord | None, data: bytes) -> End:
    """Where to go on: ``data`` is the newest file, ``before`` the last record of the one before."""
    lines = data.splitlines(keepends=True) if data else []
    records = [parse(line) if line.endswith(b"\n") else None for line in lines]
    if anchor.state != "good":
        return _without_anchor(anchor, before, lines, records)
    start = _behind(anchor.head, before, records)
    if start is None:
        why = f"the log does not end with record {anchor.head.seq}, which the head file knows"
        return _damaged(anchor.head, anchor.waiting, data, why)
    walk = _walk(anchor.head, anchor.waiting, lines, records, start)
    if _any_after(walk, lines, records):
        why = f"what follows record {walk.tip.seq} does not belong to it"
        return _damaged(walk.tip, walk.waiting, data, why)
    return _after_crash(anchor.head, walk, data)


def taken_back(tip: Head, waiting: Mapping[str, str], data: bytes) -> End:
    """Where to go on when log and head file agree, and end before what was written to them."""
    why = f"the log and its head file end before record {tip.seq}, which was written"
    return _damaged(tip, waiting, data, why)


def _behind(
    head: Head, before: AuditRecord | None, records: Sequence[AuditRecord | None]
) -> int | None:
    """The index of the line after the head's record; None if that is not there."""
    if (before.head if before else START) == head:
        return 0
    for index in range(len(records) - 1, -1, -1):
        record = records[index]
        if record is not None and record.head == head:
            return index + 1
    return None


def _walk(
    tip: Head,
    waiting: Mapping[str, str],
    lines: Sequence[bytes],
    records: Sequence[AuditRecord | None],
    start: int,
) -> _Walk:
    walk = _Walk(tip, dict(waiting), sum(map(len, lines[:start])))
    for line, record in zip(lines[start:], records[start:], strict=True):
        if record is None or not record.follows(walk.tip):
            break
        walk.on(record, len(line))
    return walk


def _any_after(walk: _Walk, lines: Sequence[bytes], records: Sequence[AuditRecord | None]) -> bool:
    at = 0
    for line, record in zip(lines, records, strict=True):
        if at >= walk.end and record is not None:
            return True
        at += len(line)
    return False


def _after_crash(known: Head, walk: _Walk, data: bytes) -> End:
    torn = data[walk.end :]
    details: dict[str, JSON] = {"head": known.seq, "log": walk.tip.seq}
    words = []
    if walk.tip.seq > known.seq:
        lag = walk.tip.seq - known.seq
        words.append(f"the head file was {lag} record{'s' if lag > 1 else ''} behind")
    if torn:
        words.append(f"{len(torn)} bytes of an append that was cut off were removed")
        details |= {"removed": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    said = Happened(RECOVERED, SUBJECT, details={"why": "; ".join(words), **details})
    return End(walk.tip, walk.waiting, walk.end if torn else None, said=said)


def _without_anchor(
    anchor: Anchor,
    before: AuditRecord | None,
    lines: Sequence[bytes],
    records: Sequence[AuditRecord | None],
) -> End:
    """Nobody knows where the log ended: go on from its last record, and say so."""
    if before is None:
        walk = _walk(START, {}, lines, records, 0)
        if len(walk.times) <= 1 and not _any_after(walk, lines, records):
            # the very first append, whose head never came to be
            data = b"".join(lines)
            fresh = not data and anchor.state == "missing"
            return End(START, {}) if fresh else _after_crash(START, walk, data)
    tip, waiting = before.head if before else START, dict[str, str]()
    for record in records:
        if record is not None:
            tip, waiting = record.head, unsettled(waiting, record)
    why = f"the head file was {anchor.state}; it is unknown whether records are missing"
    data = b"".join(lines)
    if anchor.state == "empty":
        details: dict[str, JSON] = {"why": f"{why}: a power cut", "log": tip.seq}
        return End(
            tip,
            waiting,
            broken_line=_open_line(data),
            said=Happened(RECOVERED, SUBJECT, details=details),
        )
    return _damaged(tip, waiting, data, why)


def _damaged(tip: Head, waiting: Mapping[str, str], data: bytes, why: str) -> End:
    said = Happened(DAMAGED, SUBJECT, details={"why": why, "head": tip.seq})
    return End(tip, waiting, broken_line=_open_line(data), said=said)


def _open_line(data: bytes) -> bool:
    return bool(data) and not data.endswith(b"\n")
