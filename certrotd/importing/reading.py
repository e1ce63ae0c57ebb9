"""Reading another program's files: bounded, within its folder, and written by nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from certrotd.errors import InvalidInput, NeedsOperator, UsageError
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.ownership import user_name
from certrotd.files.reading import read_status
from certrotd.files.shared import OTHERS_WRITE, others_replace
from certrotd.importing.found import AtLine

MAX_FILE = 256 * 1024
MAX_ENTRIES = 10_000


class Reader:
    """Reads below ``root`` what belongs to root or to one of the ``users``.

    Who can write these files chooses commands that certrotd runs and paths that it writes.
    """

    def __init__(self, root: Path, *, users: Collection[int], groups: Collection[int]) -> None:
        self.root = Path(os.path.abspath(root))
        self._real = os.path.realpath(root)
        self._users = {0, *users}
        self._groups = {0, *groups}
        if not os.path.isdir(self._real):
            raise UsageError(
                f"{root} is not a directory", hint="name the right one after the client"
            )
        self._own(os.stat(self._real), self.root)

    def read(self, path: Path, *, limit: int = MAX_FILE) -> bytes:
        """A file below the root, links followed that stay there.

        Raises FileNotFoundError, InvalidInput, NeedsOperator (others can write it), DiskTrouble.
        """
        return self._read(path, self.resolved(path), limit)

    def text(self, path: Path) -> str:
        """As read(), of UTF-8."""
        return as_text(self.read(path), path, self.relative(path))

    def named(self, path: Path) -> str:
        """The text of a file anywhere, which a file below the root names; raises as read()."""
        if not path.is_absolute():
            raise InvalidInput(f"{path} is not an absolute path")
        data = self._read(path, os.path.realpath(path), MAX_FILE)
        return as_text(data, path, self.relative(path))

    def names(self, folder: Path) -> list[str]:
        """What is in a folder below the root, in order; nothing if there is none."""
        real = self.resolved(folder)
        try:
            self._own(_status(real, folder), folder)
        except FileNotFoundError:
            return []
        with explained(f"list {folder}"):
            found = sorted(os.listdir(real))
        if len(found) > MAX_ENTRIES:
            raise InvalidInput(f"{folder} has more than {MAX_ENTRIES:,} entries")
        return found

    def resolved(self, path: Path) -> str:
        """Where a path leads to; raises InvalidInput if that is outside of the root."""
        real = os.path.realpath(path)
        if real != self._real and not real.startswith(f"{self._real}/"):
            raise InvalidInput(f"{path} leads to {real}, outside of {self.root}")
        return real

    def relative(self, path: Path) -> str:
        """How a path is called in a report."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def _read(self, path: Path, real: str, limit: int) -> bytes:
        self._own(_status(os.path.dirname(real), path.parent), path.parent)
        data, status = read_status(Path(real), limit=limit, follow=False)
        self._own(status, path)
        return data

    def _own(self, status: os.stat_result, path: Path) -> None:
        """Raises NeedsOperator for what somebody else can change; a sticky folder is nobody's."""
        others = stat.S_IWOTH if status.st_gid in self._groups else OTHERS_WRITE
        if status.st_uid not in self._users:
            raise NeedsOperator(
                f"{path} belongs to {user_name(status.st_uid)}, who could choose what is run",
                hint="run this as that user, or give the files to root first (chown -R)",
            )
        if others_replace(status, others):
            raise NeedsOperator(
                f"{path} can be written by others, who could choose what is run",
                hint="chmod go-w it first",
            )


def _status(real: str, path: Path) -> os.stat_result:
    """Raises FileNotFoundError, and DiskTrouble where nobody can tell."""
    try:
        return os.stat(real)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskTrouble(f"look at {path}", error) from error


def as_text(data: bytes, path: Path, where: str) -> str:
    """UTF-8 without NUL; raises AtLine, with what the file is called, and shows none of it."""
    try:
        text, bad = data.decode(), data.find(b"\0")
    except UnicodeDecodeError as error:
        text, bad = "", error.start
    if bad >= 0:
        line = data.count(b"\n", 0, bad) + 1
        raise AtLine(where, line, f"{path} is not a text file in UTF-8: line {line}")
    return text
