"""Copies of the live generation at the paths applications read, replaced together or put back."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certrotd.errors import Failure, InvalidInput, NeedsOperator, failed
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.displaced import (
    LIMIT,
    Displaced,
    check_replaceable,
    new_file,
    sweep_temporary,
    write_files,
)
from certrotd.files.giving import check_owner, owner_of
from certrotd.files.reading import is_there, read_file
from certrotd.files.writing import NewFile
from certrotd.pki.generation import Copy
from certrotd.stores.bundle import files_of, same_pkcs12, to_pkcs12
from certrotd.stores.copies import PRIVATE, copies_of


@dataclass(frozen=True)
class Copies:
    """One ``install:`` entry: ``paths`` by shape (those of bundle.files_of, and pkcs12).

    ``owner`` and ``group`` are names or numbers, None keeps certrotd's; ``mode`` is for files that
    hold the key, ``cert_mode`` for the others. ``password`` gives the PKCS#12 password when asked,
    ``pkcs12_cipher`` is "modern" or "legacy".
    """

    paths: Mapping[str, Path]
    owner: str | None = None
    group: str | None = None
    mode: int = 0o600
    cert_mode: int = 0o644
    in_place: bool = False
    password: Callable[[], bytes] = lambda: b""
    pkcs12_cipher: str = "modern"


_OTHERWISE = {errno.ELOOP: "a symbolic link", errno.ENOTDIR: "gone"}
"""The words for a copy that cannot be opened because something else is there."""


class FileInstaller:
    """The installer over the local file system; ``backups`` is a directory of its own."""

    def __init__(self, name: str, entries: tuple[Copies, ...], backups: Path) -> None:
        self._name = name
        self._entries = entries
        self._displaced = Displaced(
            backups, hint="they are not certificates; correct the paths under install"
        )

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:
        """As Installer.problems: directories, owners and secrets that are not there."""
        for entry in self._entries:
            yield from failed(partial(check_owner, entry.owner, entry.group))
            if "pkcs12" in entry.paths:
                yield from failed(entry.password)
            for shape, path in entry.paths.items():
                yield from failed(partial(_check, path, entry, _mode(entry, shape), dry))

    def vacant(self) -> bool:
        """As Installer.vacant."""
        return not any(is_there(path) for each in self._entries for path in each.paths.values())

    def install(self, key: bytes, chain: bytes, backup: str) -> None:
        """Keep what is there, then replace every copy.

        Whatever can be known beforehand to fail is raised before the first copy is touched.
        """
        shapes = files_of(key, chain)
        writes = [
            (
                entry.in_place,
                _new(entry, shape, self._content(entry, shape, shapes, key, chain)),
            )
            for entry in self._entries
            for shape in entry.paths
        ]
        self._displaced.keep(backup, self._paths)
        write_files(writes)

    def restore(self, backup: str) -> None:
        """Put back what install() found; without its manifest nothing had been replaced yet."""
        in_place = {p: e.in_place for e in self._entries for p in e.paths.values()}
        self._displaced.restore(backup, in_place=lambda path: in_place.get(path, False))

    def installed(self, key: bytes, chain: bytes) -> bool:
        """Whether every copy is this pair's; what cannot be read is to be replaced."""
        try:
            return self.different(key, chain) is None
        except DiskTrouble:
            return False

    def different(self, key: bytes, chain: bytes) -> str | None:
        """As Installer.different."""
        shapes = files_of(key, chain)
        for entry in self._entries:
            for shape, path in entry.paths.items():
                try:
                    data = read_file(path, limit=LIMIT, follow=False)
                except FileNotFoundError:
                    return f"{path} is gone"
                except InvalidInput as wrong:
                    return str(wrong)
                except DiskTrouble as trouble:
                    if trouble.errno not in _OTHERWISE:
                        raise
                    return f"{path} is {_OTHERWISE[trouble.errno]}"
                if "privkey" not in shapes and shape in PRIVATE:
                    same = False  # that of an earlier generation
                elif shape == "pkcs12":
                    same = same_pkcs12(data, key, chain, password=entry.password())
                else:
                    same = data == shapes[shape]
                if not same:
                    return f"{path} is of another pair"
        return None

    def copies(self) -> dict[str, Copy]:
        """As Installer.copies."""
        return copies_of(self._entries)

    def forget(self, backup: str) -> None:
        """Drop a backup that is no longer needed, and what a crash left beside the copies."""
        for path in self._paths:
            sweep_temporary(path)
        self._displaced.forget(backup)

    def sweep(self) -> None:
        """As Installer.sweep; also what a look ahead could not remove beside a copy."""
        self._displaced.sweep(self._paths)

    @property
    def _paths(self) -> list[Path]:
        return [path for entry in self._entries for path in entry.paths.values()]

    def _content(
        self, entry: Copies, shape: str, shapes: Mapping[str, bytes], key: bytes, chain: bytes
    ) -> bytes:
        if "privkey" not in shapes and shape in PRIVATE:
            raise NeedsOperator(
                f"there is nothing to put at {entry.paths[shape]}: the key is elsewhere",
                hint=f"certrotd rotate {self._name} --force gets one whose key is made here",
            )
        if shape == "pkcs12":
            legacy, password = entry.pkcs12_cipher == "legacy", entry.password()
            return to_pkcs12(key, chain, name=self._name, password=password, legacy=legacy)
        return shapes[shape]


def _new(entry: Copies, shape: str, data: bytes) -> NewFile:
    owner = owner_of(entry.owner, entry.group)
    return new_file(entry.paths[shape], data, mode=_mode(entry, shape), owner=owner)


def _mode(entry: Copies, shape: str) -> int:
    return entry.mode if shape in PRIVATE else entry.cert_mode


def _check(path: Path, entry: Copies, mode: int, dry: bool) -> None:
    owner = partial(owner_of, entry.owner, entry.group)
    check_replaceable(path, mode=mode, owner=owner, in_place=entry.in_place, dry=dry)
