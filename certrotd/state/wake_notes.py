"""Notes that ask for a look at a subject now: files ``wake/KIND/NAME``, left by any process.

The folder of a kind goes with the last note in it, so one system call tells the daemon, which asks
every second, that there is none. rmdir(2) refuses while the folder holds another note, and nobody
can make one in a folder that was removed: so none is lost, whenever it is left.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.ownership import give
from certrotd.files.writing import make_directory, open_directory
from certrotd.id import is_name
from certrotd.state.ports import everybody

_TRIES = 5
# without O_NONBLOCK it would wait for ever where somebody has put a FIFO
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def leave_note(state_dir: Path, subject: str) -> None:
    """Leave a note for that id, durably; one that is there already will do. Raises DiskTrouble."""
    path = state_dir / "wake" / subject
    for left in reversed(range(_TRIES)):
        try:
            make_directory(path.parent, mode=0o700)
            with explained(f"leave the note {path}"):
                _create(path)
        except DiskTrouble as trouble:
            # the folder may just have been removed, with the notes that were in it
            if trouble.errno != errno.ENOENT or not left:
                raise
        else:
            return


def _create(path: Path) -> None:
    with open_directory(path.parent, os.O_NOFOLLOW) as folder:
        handle = os.open(path.name, _FLAGS, 0o600, dir_fd=folder)
        try:
            give(handle, folder)
        finally:
            os.close(handle)
        os.fsync(folder)


class WakeNotes:
    """The notes for those subjects of one ``kind`` that are ``mine``."""

    def __init__(self, state_dir: Path, kind: str, mine: Callable[[str], bool] = everybody) -> None:
        self._folder = Path(f"{state_dir}/wake/{kind}")
        self._kind = kind
        self._mine = mine
        self._taken: set[str] = set()

    def take(self) -> frozenset[str]:
        """Remove the notes; the ids that they are for. Raises OSError.

        Those that were removed before an error are among the next time's. A note is removed before
        its subject is looked at, so one that is left meanwhile asks for another look.
        """
        with (
            contextlib.suppress(FileNotFoundError),  # as nearly always
            open_directory(self._folder, os.O_NOFOLLOW) as folder,
        ):
            self._remove(folder)
        taken, self._taken = self._taken, set()
        return frozenset(taken)

    def _remove(self, folder: int) -> None:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if is_name(entry.name)
                and self._mine(f"{self._kind}/{entry.name}")
                and entry.is_file(follow_symlinks=False)
            ]
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # then another process was quicker
                os.unlink(name, dir_fd=folder)
                self._taken.add(f"{self._kind}/{name}")
        if names:  # else somebody has made the folder just now, and is about to leave a note
            with contextlib.suppress(OSError):  # something is left in it: then it stays
                os.rmdir(self._folder)
