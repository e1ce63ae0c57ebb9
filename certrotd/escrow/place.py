"""Where backups are kept: a directory away from the data, with the newest of them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.escrow.backup import MAX_BACKUP, header_of
from certrotd.files.disktrouble import explained
from certrotd.files.reading import read_file
from certrotd.files.writable import check_directory
from certrotd.files.writing import make_directory, remove_file, sweep_temporaries, write_file

_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(.+)\.r([0-9]{10})\.([0-9]{8}T[0-9]{6}Z)\.backup", re.ASCII | re.DOTALL)
_SPARE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup that is kept; ``name`` is its own within the place, ``made`` is in whole seconds."""

    name: str
    keyring: str
    revision: int
    made: datetime


class Backups(Protocol):
    """The backups of one keyring."""

    @property
    def place(self) -> str:
        """Where they are, for people."""
        ...

    def check(self, size: int = 0) -> None:
        """Whether a backup of so many bytes could be kept; raises DiskTrouble or NeedsOperator."""
        ...

    def put(self, data: bytes) -> Kept:
        """Keep a backup, durably, and forget the oldest beyond as many as are to be kept.

        Raises as check(), and BackupUnreadable for what is none or InvalidInput for one of another
        keyring; then those from before are all there.
        """
        ...

    def list(self) -> Sequence[Kept]:
        """Every backup, the newest first: that of the highest revision.

        Raises DiskTrouble, or NeedsOperator where the disk that they are on is not there.
        """
        ...

    def remove(self, kept: Kept) -> None:
        """Remove a backup durably; nothing happens if it is gone. Raises DiskTrouble."""
        ...

    def read(self, kept: Kept) -> bytes:
        """A backup; raises NeedsOperator if it is gone or too large, or DiskTrouble."""
        ...


def newest(backups: Backups) -> Kept | None:
    """The newest backup; None if there is none. Raises as Backups.list."""
    return next(iter(backups.list()), None)


@dataclass(frozen=True)
class FileBackups:
    """Backups of ``keyring`` as files of mode 0600 in ``directory``, the ``keep`` newest.

    ``state`` is certrotd's state directory, and ``outputs`` are the files that applications read:
    who loses, or takes, the data must not have the backup with it. Other keyrings may share the
    directory. It is made; what it is in is not, for that may be on a disk that is not mounted.
    """

    directory: Path
    keyring: str
    keep: int
    state: Path
    outputs: Sequence[Path] = ()

    @property
    def place(self) -> str:
        """As Backups.place."""
        return str(self.directory)

    def check(self, size: int = 0) -> None:
        """As Backups.check: where it is, who may write there, and whether there is room."""
        self._check_place()
        self._check_parent()
        check_directory(self.directory, room=size + _SPARE)
        with explained(f"look at {self.directory}"):
            mode = self.directory.stat().st_mode if self.directory.exists() else 0
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NeedsOperator(
                f"others than its owner may write in {self.directory}",
                hint=f"chmod go-w {self.directory}: who can delete backups can destroy keys",
            )

    def warnings(self) -> Iterator[str]:
        """What does not keep backups from being made, and makes them worth less."""
        with explained(f"look at {self.directory}"):
            devices = {_existing(path).stat().st_dev for path in (self.directory, self.state)}
        if len(devices) == 1:
            yield (
                f"{self.directory} is on the file system of {self.state}: a disk that fails takes "
                "both; copy the backups to another machine"
            )

    def put(self, data: bytes) -> Kept:
        """As Backups.put."""
        header = header_of(data)
        if header.keyring != self.keyring:
            raise InvalidInput(f"a backup of {header.keyring} is not kept as one of {self.keyring}")
        self.check(len(data))
        make_directory(self.directory, mode=0o700)
        sweep_temporaries(self.directory)
        made = header.made.astimezone(UTC).replace(microsecond=0)
        kept = Kept(
            f"{self.keyring}.r{header.revision:010d}.{made:{_TIME}}.backup",
            self.keyring,
            header.revision,
            made,
        )
        write_file(self.directory / kept.name, data, mode=0o600)
        for old in self.list()[self.keep :]:
            if old != kept:  # which may be of a lower revision than what an error left there
                remove_file(self.directory / old.name)
        return kept

    def list(self) -> Sequence[Kept]:
        """As Backups.list; files of other names are left alone."""
        with explained(f"look at {self.directory}"):
            try:
                names = os.listdir(self.directory)
            except FileNotFoundError:
                self._check_parent()
                return ()
        return in_order(each for name in names if (each := named(name, self.keyring)))

    def remove(self, kept: Kept) -> None:
        """As Backups.remove."""
        remove_file(self.directory / kept.name)

    def read(self, kept: Kept) -> bytes:
        """As Backups.read."""
        path = self.directory / kept.name
        try:
            return read_file(path, limit=MAX_BACKUP, follow=False)
        except FileNotFoundError:
            raise NeedsOperator(
                f"the backup {path} is gone", hint="take another one, or make one now"
            ) from None
        except InvalidInput as error:
            raise NeedsOperator(error.message, hint="take another backup") from None

    def _check_parent(self) -> None:
        """Raise NeedsOperator where the disk of the directory may not be mounted."""
        parent = self.directory.parent
        if not os.path.lexists(parent):
            raise NeedsOperator(
                f"there is no {parent}, where backups are to be kept in {self.directory.name}",
                hint=f"mount its disk; if it is to be on this one: mkdir -p {parent}",
            )

    def _check_place(self) -> None:
        directory, state = Path(os.path.realpath(self.directory)), _real(self.state)
        if directory.is_relative_to(state) or state.is_relative_to(directory):
            raise NeedsOperator(
                f"backups are not kept in {self.directory}, beside the keyrings in {self.state}",
                hint="name a directory elsewhere, best on another disk or machine",
            )
        for output in self.outputs:
            if directory in (_real(output), _real(output.parent)):
                raise NeedsOperator(
                    f"backups are not kept in {self.directory}, where applications read {output}",
                    hint="name a directory elsewhere, best on another disk or machine",
                )


def named(name: str, keyring: str) -> Kept | None:
    """The backup of ``keyring`` that a file of that name is; None for any other file."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != keyring:
        return None
    try:
        made = datetime.strptime(match[3], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Kept(name, keyring, int(match[2]), made)


def in_order(kept: Iterator[Kept]) -> tuple[Kept, ...]:
    """The newest first."""
    return tuple(sorted(kept, key=lambda each: (each.revision, each.made), reverse=True))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _existing(path: Path) -> Path:
    """The path itself, or the nearest of its parents that is there."""
    return next(each for each in (path, *path.parents) if each.exists())
