"""What somebody else has rotated, or wants to be looked at: seen in the state directory.

A rotation by hand adds a line of history and makes and removes a journal, whoever runs it. So it
need not tell the daemon, nor know that there is one, and nor need one that was killed. Who knows
that what a rotation waits for has come leaves a note.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from certrotd.state.journal import in_flight
from certrotd.state.ports import everybody
from certrotd.state.wake_notes import WakeNotes

_SLACK = 1_000_000_000
_END = ".jsonl"


class FileChanges:
    """Of one ``kind``; a system call for each of three folders while nothing happens."""

    def __init__(self, state_dir: Path, kind: str, mine: Callable[[str], bool] = everybody) -> None:
        self._state_dir = state_dir
        self._kind = kind
        self._history = f"{state_dir}/history/{kind}"
        self._journal = f"{state_dir}/journal/{kind}"
        self._open: frozenset[str] = frozenset()
        self._seen: tuple[int | None, int | None] | None = None
        self._again = False
        self._notes = WakeNotes(state_dir, kind, mine)

    def subjects(self) -> frozenset[str]:
        """Those that were rotated since the last time, or a little before; none the first time.

        Raises OSError, and DiskTrouble.
        """
        found = _modified(self._history), _modified(self._journal)
        if found == self._seen and not self._again:
            return frozenset()
        before, self._seen = self._seen, found
        opened, self._open = self._open, self._in_flight()
        if before is None:
            return frozenset()  # all are looked at after this
        # once more: what happens in the same tick of the system's clock leaves the same time
        self._again = found != before
        return (opened ^ self._open) | self._written(min(before[0] or 0, found[0] or 0))

    def woken(self) -> frozenset[str]:
        """As Changes.woken(); raises OSError."""
        return self._notes.take()

    def _in_flight(self) -> frozenset[str]:
        kind = f"{self._kind}/"
        return frozenset(each for each in in_flight(self._state_dir) if each.startswith(kind))

    def _written(self, since: int) -> frozenset[str]:
        """The histories that were written ``since`` then, in nanoseconds."""
        try:
            with os.scandir(self._history) as entries:
                return frozenset(
                    f"{self._kind}/{entry.name.removesuffix(_END)}"
                    for entry in entries
                    if entry.name.endswith(_END)
                    and entry.stat(follow_symlinks=False).st_ctime_ns >= since - _SLACK
                )
        except FileNotFoundError:
            return frozenset()


def _modified(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return None
