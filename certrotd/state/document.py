"""A document in a file: replaced by rename, compared under a lock on its directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from certrotd.files.disktrouble import explained
from certrotd.files.reading import read_status
from certrotd.files.writing import make_directory, open_directory, rename, write_file
from certrotd.state.ports import ABSENT, MAX_DOCUMENT, Conflict, Content, TooLarge

UNREADABLE = ".unreadable"


class FileDocument:
    """``<directory>/<name>.json``; the directory is there, folders that the name says are made."""

    def __init__(self, directory: Path, name: str, *, limit: int = MAX_DOCUMENT) -> None:
        self._path = directory / f"{name}.json"
        self._own_folder = "/" in name
        self._limit = limit

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self._path)

    def read(self) -> Content | None:
        """As Document.read; what is in its place and no regular file is InvalidInput."""
        try:
            data, status = read_status(self._path, limit=self._limit, follow=False)
        except FileNotFoundError:
            return None
        return Content(data, _revision(status))

    def revision(self) -> str:
        """As Document.revision: inode, time and size, as every write makes a new file."""
        with explained(f"look at {self._path}"):
            try:
                return _revision(self._path.stat(follow_symlinks=False))
            except FileNotFoundError:
                return ABSENT

    def write(self, data: bytes, *, expected: str | None = None) -> str:
        """As Document.write; Conflict, too, while another is just writing in the same directory."""
        if len(data) > self._limit:
            raise TooLarge(f"{self._path} would be larger than {self._limit} bytes")
        if self._own_folder:
            make_directory(self._path.parent, mode=0o700)
        with contextlib.nullcontext() if expected is None else self._unchanged(expected):
            write_file(self._path, data, mode=0o600)
            return self.revision()

    def set_aside(self) -> str:
        """As Document.set_aside; the last one is kept."""
        aside = self._path.with_name(f"{self._path.name}{UNREADABLE}")
        rename(self._path, aside)
        return str(aside)

    @contextlib.contextmanager
    def _unchanged(self, expected: str) -> Iterator[None]:
        with (
            explained(f"lock {self._path.parent}"),
            open_directory(self._path.parent) as folder,
        ):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"{self._path} is being written by another process right now"
                ) from None
            try:
                if self.revision() != expected:
                    raise Conflict(f"{self._path} was changed by another process")
                yield
            finally:  # closing would leave it locked while a child that just forks has it, too
                fcntl.flock(folder, fcntl.LOCK_UN)


def _revision(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
