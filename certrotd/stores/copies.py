"""Whether installed copies are still what was installed, told without reading or parsing them.

A listing of certificates asks this of every copy, as anybody: a look at a file's status must do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from certrotd.files.disktrouble import explained
from certrotd.pki.generation import Copy

PRIVATE = frozenset({"privkey", "combined", "pkcs12"})
_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory"}
_GONE = (FileNotFoundError, NotADirectoryError)


class Installs(Protocol):
    """An ``install:`` entry: ``paths`` by shape, and how the files are to be."""

    @property
    def paths(self) -> Mapping[str, Path]: ...
    @property
    def owner(self) -> str | int | None: ...
    @property
    def group(self) -> str | int | None: ...
    @property
    def mode(self) -> int: ...
    @property
    def cert_mode(self) -> int: ...
    @property
    def in_place(self) -> bool: ...
    @property
    def pkcs12_cipher(self) -> str: ...


def copies_of(entries: Iterable[Installs]) -> dict[str, Copy]:
    """Every copy as it is now, by its path; raises DiskTrouble."""
    found = {}
    for entry in entries:
        for shape, path in entry.paths.items():
            with explained(f"look at {path}"):
                found[str(path)] = Copy(_asked(entry, shape), _stamp(str(path)))
    return found


def displaced(entries: Iterable[Installs], known: Mapping[str, Copy]) -> str | None:
    """Which copy is not what was installed, or not what is asked for now; None if each is.

    A copy that may not be looked at is believed to be in order: a rotation will tell.
    """
    for entry in entries:
        for shape, path in entry.paths.items():
            copy = known.get(text := str(path))
            if copy is None:
                return f"{path} is not yet installed"
            if copy.asked != _asked(entry, shape):
                return f"{path} is to be installed otherwise"
            try:
                if (stamp := _stamp(text)) != copy.stamp:
                    return f"{path} {_rights(stamp, copy.stamp) or 'was changed'}"
            except _GONE:
                return f"{path} is gone"
            except OSError:
                continue
    return None


def altered(known: Mapping[str, Copy], there: Mapping[str, Copy]) -> str | None:
    """Which copy has another owner, group or mode than when it was installed; None if none."""
    for path, copy in known.items():
        if path in there and (words := _rights(there[path].stamp, copy.stamp)):
            return f"{path} {words}"
    return None


def _asked(entry: Installs, shape: str) -> str:
    mode = entry.mode if shape in PRIVATE else entry.cert_mode
    how = " in place" if entry.in_place else ""
    if shape == "pkcs12":
        how += f" {entry.pkcs12_cipher}"
    return f"{shape} {entry.owner}:{entry.group} {mode:o}{how}"


def _rights(now: tuple[int, ...], was: tuple[int, ...]) -> str | None:
    """Who may do what with a copy, where that is different between two stamps; else None."""
    if now[2:] == was[2:] or len(now) != len(was):
        return None
    mode, before = now[2], was[2]
    if stat.S_IFMT(mode) != stat.S_IFMT(before):
        return f"is {_KINDS.get(stat.S_IFMT(mode), 'no longer a file')}"
    if now[3:] != was[3:]:
        return f"belongs to {now[3]}:{now[4]}, not to {was[3]}:{was[4]}"
    return f"has mode {stat.S_IMODE(mode):04o}, not {stat.S_IMODE(before):04o}"


def _stamp(path: str) -> tuple[int, ...]:
    # whole seconds, and no inode: network and overlay file systems change the rest by themselves
    status = os.lstat(path)
    return status.st_size, int(status.st_mtime), status.st_mode, status.st_uid, status.st_gid
