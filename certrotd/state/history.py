"""What rotations came to: one line for each, with how many failed in a row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_file
from certrotd.files.writing import make_directory, write_file
from certrotd.state.records import decode_line, encode

HISTORY_LINES = 500
MAX_HISTORY = 16 * 1024 * 1024
MAX_LINE = 32 * 1024
SAME_ATTEMPT = "same_attempt"
"""The fact of a rotation that followed a failed one at once: both count as one failure."""


class FileHistory:
    """As ports.History: JSON lines in ``<directory>/history/SUBJECT.jsonl``."""

    def __init__(self, directory: Path, subject: str) -> None:
        self._directory = directory
        self._subject = subject

    @cached_property
    def path(self) -> Path:
        """The file of the lines."""
        return self._directory / "history" / f"{self._subject}.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        """Every line that can be read: history is for people and for backoff, not for recovery."""
        try:
            data = read_file(self.path, limit=MAX_HISTORY, follow=False)
        except FileNotFoundError:
            return []
        return _readable(data)

    def last(self) -> dict[str, Any] | None:
        """The newest line, read from the end of the file; None before the first."""
        try:
            # a path of text: this is asked of every certificate of a listing
            tail, size = _tail(f"{self._directory}/history/{self._subject}.jsonl")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DiskTrouble(f"read {self.path}", error) from error
        newest = next(_from_the_end(tail), None)
        if newest is None and size > MAX_LINE:
            lines = self.lines()  # the newest line is an unusually long one
            newest = lines[-1] if lines else None
        return newest

    def add(self, summary: Mapping[str, Any]) -> None:
        """Add a line, as with_line() says."""
        lines = self.lines()
        added = with_line(lines, summary)
        if added != lines:
            make_directory(self.path.parent, mode=0o700)
            write_file(self.path, b"".join(encode(line) for line in added), mode=0o600)


def with_line(lines: list[dict[str, Any]], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """History with one more line, unless the last is of the same rotation (a crash came between).

    ``failures`` is added to it: how many of the latest rotations in a row did not finish, where
    one that was stopped counts neither way. If some of them were begun by hand, so is their number
    and when the last of the others ``failed_at``, for nobody waits because of those. The oldest
    lines go when there are more than 500, or more than fit the size that is read back.
    """
    last = lines[-1] if lines else {}
    if last.get("id") == summary["id"]:
        return lines
    kept = [*lines, {**summary, **_failures(last, summary)}][-HISTORY_LINES:]
    room = MAX_HISTORY
    for number, line in enumerate(reversed(kept)):
        room -= len(encode(line))
        if room < 0:
            return kept[len(kept) - number :]
    return kept


def _failures(last: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    if summary["failure"] is None:
        return {"failures": 0}
    failures, by_hand = int(last.get("failures", 0)), int(last.get("by_hand_failures", 0))
    failed_at = last.get("failed_at") or (last.get("ended") if failures > by_hand else None)
    if not summary.get("stopped"):
        if not (summary.get("facts") or {}).get(SAME_ATTEMPT):
            failures += 1
            by_hand += bool(summary.get("by_hand"))
        if not summary.get("by_hand"):
            failed_at = summary.get("ended")
    if not by_hand:
        return {"failures": failures}
    return {"failures": failures, "by_hand_failures": by_hand, "failed_at": failed_at}


def _readable(data: bytes) -> list[dict[str, Any]]:
    return [*_from_the_end(data)][::-1]


def _from_the_end(data: bytes) -> Iterator[dict[str, Any]]:
    for line in reversed(data.split(b"\n")):
        record = decode_line(line) if line else None
        if record is not None:
            yield record


def _tail(path: str) -> tuple[bytes, int]:
    """The last 32 KiB of a file, and how large it is; raises OSError."""
    # not to wait for ever where somebody has put a FIFO
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(handle).st_size
        return os.pread(handle, MAX_LINE, max(0, size - MAX_LINE)), size
    finally:
        os.close(handle)
