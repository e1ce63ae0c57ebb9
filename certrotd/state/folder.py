"""A few small files in a directory of their own, under a lock beside it."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from certrotd.clock import Deadline
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.reading import read_file
from certrotd.files.writing import (
    TEMPORARY,
    create_file,
    create_files,
    make_directory,
    remove_file,
    remove_tree,
    rename,
    write_file,
)
from certrotd.state.ports import Conflict, Lease

_MODE = 0o600


class LockFile(Protocol):
    """Holds the lock at a path, as StateDirectory.lock_file()."""

    def __call__(
        self, path: Path, what: str, *, wait: Deadline | None = None
    ) -> AbstractContextManager[Lease]: ...


class FileFolder:
    """As ports.Folder: the directory ``path``, made by the first write; all in it is 0600."""

    def __init__(self, path: Path, lock: LockFile) -> None:
        self._path = path
        self._lock = lock

    @property
    def place(self) -> str:
        return str(self._path)

    def where(self, name: str) -> str:
        return str(self._path / name)

    def names(self) -> frozenset[str]:
        with explained(f"list {self._path}"):
            try:
                return frozenset(each.name for each in self._path.iterdir())
            except FileNotFoundError:
                return frozenset()

    def read(self, name: str, *, limit: int) -> bytes | None:
        try:
            return read_file(self._path / name, limit=limit, follow=False)
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        make_directory(self._path, mode=0o700)
        write_file(self._path / name, data, mode=_MODE)

    def add(self, name: str, data: bytes) -> None:
        make_directory(self._path, mode=0o700)
        try:
            create_file(self._path / name, data, mode=_MODE)
        except DiskTrouble as trouble:
            if trouble.errno != errno.EEXIST:
                raise
            raise Conflict(f"{self.where(name)} was made meanwhile") from None

    def remove(self, name: str) -> None:
        remove_file(self._path / name)

    def create(self, files: Mapping[str, bytes]) -> None:
        make_directory(self._path.parent, mode=0o700)
        staging = self._path.with_name(f".{self._path.name}{TEMPORARY}")
        remove_tree(staging)  # a crash left it
        make_directory(staging, mode=0o700)
        create_files(staging, [(each, data, _MODE) for each, data in files.items()], sync=True)
        rename(staging, self._path)

    def reading(self) -> AbstractContextManager[None]:
        return nullcontext()

    def locked(self, what: str, wait: Deadline) -> AbstractContextManager[Lease]:
        return self._lock(self._path.with_name(f"{self._path.name}.lock"), what, wait=wait)
