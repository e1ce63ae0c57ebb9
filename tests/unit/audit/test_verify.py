"""Each kind of tampering is found, and named; what a crash leaves is not called tampering."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from certrotd.audit.record import (
    DAMAGED,
    MAX_LINE,
    START,
    AuditRecord,
    Happened,
    Head,
    chained,
    parse,
)
from certrotd.audit.verify import verify
from certrotd.errors import InvalidInput

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
COUNT = 8


def chain(
    count: int, *, head: Head = START, start: datetime = NOW, step: int = 1
) -> list[AuditRecord]:
    """Records that follow each other, ``step`` seconds apart."""
    records = []
    for number in range(count):
        happened = Happened(
            "rotation.began", f"web-{head.seq}", f"r{head.seq}", {"why": "ümläut\n", "n": number}
        )
        record = chained(head, happened, at=start + timedelta(seconds=step * number))
        records.append(record)
        head = record.head
    return records


RECORDS = chain(COUNT)
LINES = [record.line() for record in RECORDS]
HEAD = RECORDS[-1].head


def what(lines: Sequence[bytes], anchor: Head | None = HEAD) -> tuple[str, int] | None:
    """What was found, and at which record."""
    broken = verify(lines, anchor).broken
    return (broken.what, broken.seq) if broken else None


def test_an_untouched_log_verifies() -> None:
    """The control for everything below."""
    verdict = verify(LINES, HEAD)
    assert (verdict.head, verdict.broken, verdict.notes) == (HEAD, None, ())
    assert verify([], None).broken is None
    assert verify([], START).broken is None


@given(st.integers(0, sum(map(len, LINES)) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(position: int, difference: int) -> None:
    """One bit of a name, a date, a space, a newline: nothing in the file is beside the point."""
    data = bytearray(b"".join(LINES))
    data[position] ^= difference
    assert what(bytes(data).splitlines(keepends=True)) is not None
    assert what(_split(bytes(data))) is not None


@given(st.integers(0, sum(map(len, LINES)) - 1), st.binary(min_size=1, max_size=5))
def test_any_inserted_bytes_are_found(position: int, added: bytes) -> None:
    """JSON forgives spaces; the log does not."""
    data = b"".join(LINES)
    assert what(_split(data[:position] + added + data[position:])) is not None


@given(st.integers(0, COUNT - 1))
def test_any_removed_line_is_found(index: int) -> None:
    """In the middle by the chain, at the end by the head."""
    found = what(LINES[:index] + LINES[index + 1 :])
    last = index == COUNT - 1
    assert found == (("truncated" if last else "removed"), index + 1)


@given(st.integers(0, COUNT - 1), st.integers(1, COUNT))
def test_any_removed_run_is_found(start: int, size: int) -> None:
    """Somebody who removes a rotation removes all its records."""
    assert what(LINES[:start] + LINES[start + size :]) is not None


@given(st.integers(0, COUNT), st.integers(0, COUNT - 1))
def test_any_line_inserted_twice_is_found(index: int, copied: int) -> None:
    """A replayed record is no new one."""
    assert what([*LINES[:index], LINES[copied], *LINES[index:]]) is not None


@given(st.integers(0, COUNT), st.binary(max_size=40))
def test_any_foreign_line_is_found(index: int, text: bytes) -> None:
    """A line that is no record has no business there, even at the end."""
    assume(b"\n" not in text)
    found = what([*LINES[:index], text + b"\n", *LINES[index:]])
    assert found is not None
    if index < COUNT:
        assert found == ("inserted", index + 1)


@given(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1))
def test_any_swapped_lines_are_found(one: int, other: int) -> None:
    """The order of events is what an audit is about."""
    assume(one != other)
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    assert what(lines) == ("reordered", min(one, other) + 1)


@given(st.integers(0, sum(map(len, LINES)) - 1))
def test_any_cut_is_found(size: int) -> None:
    """Inside a record or between two, even if only the last newline is gone."""
    found = what(_split(b"".join(LINES)[:size]))
    assert found is not None
    assert found[0] == "truncated"


@given(st.integers(0, COUNT - 1))
def test_a_record_rewritten_with_its_hash_is_found(index: int) -> None:
    """Whoever changes a record can compute its hash; the next record, or the head, remembers."""
    old = RECORDS[index]
    head = Head(old.seq - 1, old.prev)
    new = chained(head, Happened("rotation.began", "other", old.rotation, {}), at=NOW)
    found = what([*LINES[:index], new.line(), *LINES[index + 1 :]])
    assert found == ("changed", index + 1)


@given(st.integers(1, COUNT - 1))
def test_a_record_forged_into_the_chain_is_found(index: int) -> None:
    """It follows what is before it, and what is after it does not follow."""
    new = chained(RECORDS[index - 1].head, Happened("rotation.began", "other"), at=NOW)
    found = what([*LINES[:index], new.line(), *LINES[index:]])
    # in front of the last record it is the head that contradicts, before the real one is met
    assert found == ("changed" if index == COUNT - 1 else "inserted", index + 1)


def test_a_log_rewritten_from_the_beginning_is_found() -> None:
    """A log rewritten as a whole meets the head of the one that was."""
    assert what([r.line() for r in chain(COUNT, start=NOW + timedelta(days=1))]) == (
        "changed",
        COUNT,
    )


def test_a_chain_that_begins_elsewhere_is_found() -> None:
    """Whoever removes the oldest file leaves a chain without its beginning."""
    assert what(LINES[3:]) == ("removed", 1)
    forged = [r.line() for r in chain(2, head=Head(0, "f" * 64))]
    assert what(forged, None) == ("changed", 1)


def test_a_single_append_past_the_head_counts_as_a_crash() -> None:
    """The head is written after the log; a crash between must not raise an alarm."""
    more = chain(3, head=HEAD, start=NOW + timedelta(days=1), step=0)
    verdict = verify([*LINES, *(r.line() for r in more)], HEAD)
    assert verdict.broken is None
    assert "behind" in verdict.notes[0]


def test_more_than_one_append_past_the_head_is_found() -> None:
    """The control: a second append would not have begun before the head was right."""
    more = chain(2, head=HEAD, start=NOW + timedelta(days=1))
    assert what([*LINES, *(r.line() for r in more)]) == ("inserted", COUNT + 2)


def test_a_torn_end_past_the_head_is_a_crash() -> None:
    """The head shows that what it was to become never was."""
    torn = chained(HEAD, Happened("rotation.began", "web"), at=NOW).line()[:-20]
    verdict = verify([*LINES, torn], HEAD)
    assert verdict.broken is None
    assert "torn" in verdict.notes[0]


def test_without_a_head_the_end_is_not_trusted() -> None:
    """Removing the head and the end together must not look like a shorter log."""
    assert what(LINES[:4], None) == ("truncated", 2)


def test_damage_found_earlier_stays_found() -> None:
    """The log says of itself what an append met; verifying afterwards does not forget it."""
    said = chained(HEAD, Happened(DAMAGED, "audit", details={"why": "the end was gone"}), at=NOW)
    broken = verify([*LINES, said.line()], said.head).broken
    assert broken is not None
    assert broken.what == "damaged"
    assert "the end was gone" in str(broken)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"[" * 100_000,
        b"\xff\n",
        b'{"seq":NaN}\n',
        LINES[0].replace(b'"seq":1', b'"seq":1.0'),
        LINES[0].replace(b'"seq":1', b'"seq":true'),
        LINES[0].replace(b'{"at"', b'{ "at"'),
    ],
)
def test_a_line_that_is_no_record_is_not_read_as_one(line: bytes) -> None:
    """Hostile lines end in None, never in a traceback."""
    assert parse(line) is None


def test_a_record_reads_back() -> None:
    """The control: what was written is what is read."""
    for record, line in zip(RECORDS, LINES, strict=True):
        assert parse(line) == record
    assert parse(replace(RECORDS[0], subject="other").line()) is None


def test_a_record_that_could_not_be_read_back_is_not_written() -> None:
    """Lines are bounded when they are read, so they are when they are made."""
    with pytest.raises(InvalidInput, match="longer than"):
        chained(START, Happened("rotation.began", "web", "", {"why": "x" * MAX_LINE}), at=NOW)


def _split(data: bytes) -> list[bytes]:
    """Lines as a file gives them: at newlines alone."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
