"""Whether a log is the chain it should be, and if not, what was done to it and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from certrotd.audit.record import DAMAGED, RECOVERED, START, AuditRecord, Head, parse

What = Literal["changed", "removed", "inserted", "reordered", "truncated", "damaged"]


@dataclass(frozen=True)
class Broken:
    """The first record that is not what it should be, by the number it has or should have."""

    seq: int
    what: What
    why: str

    def __str__(self) -> str:
        return f"record {self.seq}: {self.what}: {self.why}"


@dataclass(frozen=True)
class Verification:
    """``head`` is the last record that is in order; ``notes`` are what need not worry anybody."""

    head: Head
    broken: Broken | None = None
    notes: tuple[str, ...] = ()


def verify(lines: Iterable[bytes], anchor: Head | None) -> Verification:
    """Look at every line, oldest first, each with its newline; ``anchor`` is the head file's.

    A crash between a record and the head leaves the log ahead by the records of one append, which
    have one time; and a torn line behind them. Neither is tampering. Without an anchor (None) the
    end cannot be told from one that was cut off: that is damage, unless nothing was ever written.
    """
    ahead = _Ahead(anchor)
    tip, notes = START, list[str]()
    rest = iter(lines)
    for line in rest:
        torn = not line.endswith(b"\n")
        record = None if torn else parse(line)
        if torn and ahead.may_tear(tip):
            notes.append(f"a torn record after record {tip.seq}: a crash cut it off")
            break
        broken = (
            _misplaced(tip, record, rest, torn=torn)
            if record is None or not record.follows(tip)
            else ahead.wrong(record)
        )
        if broken is not None:
            return Verification(tip, broken, tuple(notes))
        assert record is not None
        tip = record.head
        if record.event == RECOVERED:
            notes.append(f"record {tip.seq} of {record.at}: {record.details.get('why', '')}")
    return Verification(tip, ahead.missing(tip), (*notes, *ahead.notes(tip)))


class _Ahead:
    """Where a chain stands to its anchor."""

    def __init__(self, anchor: Head | None) -> None:
        self._anchor = anchor or START
        self._missing = anchor is None
        self._at: str | None = None

    def may_tear(self, tip: Head) -> bool:
        """Whether what the anchor knows of is all there, so that more may be an append cut off."""
        return tip.seq >= self._anchor.seq

    def wrong(self, record: AuditRecord) -> Broken | None:
        """What is wrong with a record that has its place in the chain."""
        seq, anchor = record.seq, self._anchor
        if record.event == DAMAGED:
            return Broken(seq, "damaged", f"it says of {record.at}: {record.details.get('why')}")
        if seq == anchor.seq and record.head != anchor:
            return Broken(seq, "changed", "it is not the record that the head file knows")
        if seq <= anchor.seq:
            return None
        if self._at not in (None, record.at):
            if self._missing:
                return Broken(
                    seq,
                    "truncated",
                    "the head file is missing or cannot be read: nobody can tell whether records "
                    "are missing at the end",
                )
            return Broken(
                seq,
                "inserted",
                f"the head file knows of {anchor.seq} records, and more were added than the "
                "one append that a crash may leave behind it",
            )
        self._at = record.at
        return None

    def missing(self, tip: Head) -> Broken | None:
        """What is not there at the end."""
        seq = self._anchor.seq
        if tip.seq >= seq:
            return None
        return Broken(
            tip.seq + 1,
            "truncated",
            f"the log ends with record {tip.seq}, and the head file knows of record {seq}",
        )

    def notes(self, tip: Head) -> tuple[str, ...]:
        """What the next append puts right."""
        if tip.seq <= self._anchor.seq:
            return ()
        return (f"the head file is behind, at record {self._anchor.seq}: after a crash",)


def _misplaced(
    tip: Head, record: AuditRecord | None, rest: Iterator[bytes], *, torn: bool
) -> Broken:
    """What was done, where ``record`` (None: a line that is not one) is found behind ``tip``."""
    due = tip.seq + 1
    next_line = next(rest, None)
    following = parse(next_line) if next_line is not None else None
    continues = following is not None and following.follows(tip)
    if record is None:
        if continues:
            return Broken(due, "inserted", f"a line that is no record, before record {due}")
        if next_line is None and torn:
            return Broken(due, "truncated", "the log ends in the middle of it")
        return Broken(due, "changed", "it is not as it was written")
    if record.seq == due:
        if due == 1:
            return Broken(1, "changed", "it is not the first record of a chain")
        return Broken(tip.seq, "changed", f"record {due} was written after another one")
    if record.seq < due:
        return Broken(record.seq, "inserted", f"it stands after record {tip.seq} as well")
    if following is not None and continues:
        if record.follows(following.head):
            return Broken(due, "reordered", f"it stands after record {record.seq}")
        return Broken(record.seq, "inserted", f"it stands before record {due}")
    missing = range(due, record.seq)
    seen = (following, *(parse(line) for line in rest))
    if any(each is not None and each.seq in missing for each in seen):
        return Broken(due, "reordered", f"it stands after record {record.seq}")
    last = f" to {record.seq - 1}" if record.seq - 1 > due else ""
    return Broken(due, "removed", f"record {due}{last} is missing before record {record.seq}")
