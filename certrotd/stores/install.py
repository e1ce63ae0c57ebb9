"""Copies of the live generation at the paths applications read, replaced together or put back."""

from __future__ import annotations

import base64
import errno
import grp
import json
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.errors import Failure, InvalidInput, NeedsOperator, failed
from certrotd.pki.generation import Copy
from certrotd.rotation.files import (
    DiskTrouble,
    do_each,
    explained,
    is_there,
    make_directory,
    read_file,
    remove_file,
    remove_tree,
    replace_symlink,
    temporary_of,
    write_file,
    write_in_place,
)
from certrotd.stores.bundle import files_of, same_pkcs12, to_pkcs12
from certrotd.stores.copies import PRIVATE, copies_of

LIMIT = 4 * 1024 * 1024
MANIFEST = "manifest.json"
MAX_KEPT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Copies:
    """One ``install:`` entry: ``paths`` by shape (those of bundle.files_of, and pkcs12).

    ``owner`` and ``group`` are names or numbers, None keeps certrotd's; ``mode`` is for files that
    hold the key, ``cert_mode`` for the others. ``password`` gives the PKCS#12 password when asked.
    """

    paths: Mapping[str, Path]
    owner: str | None = None
    group: str | None = None
    mode: int = 0o600
    cert_mode: int = 0o644
    in_place: bool = False
    password: Callable[[], bytes | None] = lambda: None


_OTHERWISE = {errno.ELOOP: "a symbolic link", errno.ENOTDIR: "gone"}
"""What is said of a copy that cannot be opened because something else is there."""


class FileInstaller:
    """The installer over the local file system; ``backups`` is a directory of its own."""

    def __init__(self, name: str, entries: tuple[Copies, ...], backups: Path) -> None:
        self._name = name
        self._entries = entries
        self._backups = backups

    def problems(self) -> Iterator[Failure]:
        """As Installer.problems: directories, owners and secrets that are not there."""
        for entry in self._entries:
            yield from failed(partial(_owner, entry))
            if "pkcs12" in entry.paths:
                yield from failed(entry.password)
            for path in entry.paths.values():
                yield from failed(partial(_check, path, in_place=entry.in_place))

    def vacant(self) -> bool:
        """As Installer.vacant."""
        return not any(is_there(path) for each in self._entries for path in each.paths.values())

    def install(self, key: bytes, chain: bytes, backup: str) -> None:
        """Keep what is there, then replace every copy.

        Whatever can be known beforehand to fail is raised before the first copy is touched.
        """
        shapes = files_of(key, chain)
        writes = [
            (entry, shape, path, self._content(entry, shape, shapes, key, chain), _owner(entry))
            for entry in self._entries
            for shape, path in entry.paths.items()
        ]
        self._keep(backup)
        for entry, shape, path, data, owner in writes:
            write = write_in_place if entry.in_place else write_file
            write(path, data, mode=entry.mode if shape in PRIVATE else entry.cert_mode, owner=owner)

    def restore(self, backup: str) -> None:
        """Put back what install() found; without its manifest nothing had been replaced yet."""
        in_place = {str(p): e.in_place for e in self._entries for p in e.paths.values()}
        for kept in self._kept(backup):
            path = Path(kept["path"])
            _sweep(path)
            if _snapshot(path) == kept:
                continue  # a full disk may have no room for it a second time
            if "link" in kept:
                replace_symlink(path, kept["link"])
            elif kept["content"] is None:
                remove_file(path)
            else:
                data = base64.b64decode(kept["content"])
                write = write_in_place if in_place.get(str(path)) else write_file
                write(path, data, mode=kept["mode"], owner=(kept["uid"], kept["gid"]))

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
                if shape == "pkcs12":
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
        for entry in self._entries:
            for path in entry.paths.values():
                _sweep(path)
        remove_tree(self._backups / backup)

    def sweep(self) -> None:
        """As Installer.sweep."""
        with explained(f"read {self._backups}"):
            try:
                left = os.listdir(self._backups)
            except FileNotFoundError:
                return
        do_each([partial(remove_tree, self._backups / each) for each in left])

    def _keep(self, backup: str) -> None:
        folder = self._backups / backup
        if is_there(folder / MANIFEST):
            return  # a crash came after it: what is at the paths now may be half replaced
        kept = [_snapshot(path) for entry in self._entries for path in entry.paths.values()]
        manifest = json.dumps(kept).encode()
        if len(manifest) > MAX_KEPT:
            raise NeedsOperator(
                f"the files to replace have more than {MAX_KEPT} bytes together",
                hint="they are no certificates; correct the paths under install",
            )
        make_directory(folder, mode=0o700)
        # one file holds all of it, old keys too: whole or absent, and readable by nobody else
        write_file(folder / MANIFEST, manifest, mode=0o600)

    def _kept(self, backup: str) -> list[dict[str, Any]]:
        path = self._backups / backup / MANIFEST
        try:
            kept: list[dict[str, Any]] = json.loads(read_file(path, limit=MAX_KEPT, follow=False))
        except FileNotFoundError:
            return []
        except ValueError:
            raise NeedsOperator(
                f"{path} is not what certrotd wrote", hint="put the installed copies back by hand"
            ) from None
        return kept

    def _content(
        self, entry: Copies, shape: str, shapes: Mapping[str, bytes], key: bytes, chain: bytes
    ) -> bytes:
        if shape == "pkcs12":
            return to_pkcs12(key, chain, name=self._name, password=entry.password())
        return shapes[shape]


def _sweep(path: Path) -> None:
    # asked first: where the file alone is mounted writable, removing nothing fails, too
    temporary = temporary_of(path)
    if is_there(temporary):
        remove_file(temporary)


def _check(path: Path, *, in_place: bool) -> None:
    folder = path.parent
    if not os.path.isdir(folder):
        raise NeedsOperator(f"{folder} is not a directory", hint="create it")
    linked = os.path.islink(path)
    if os.path.isdir(path) and not linked:
        raise NeedsOperator(f"{path} is a directory", hint="name a file in it")
    if in_place and linked:
        raise NeedsOperator(
            f"{path} is a symbolic link", hint="name the file it leads to, or leave in_place out"
        )
    # a file that is written in place may stand, bind-mounted, in a directory that is not ours
    overwritten = in_place and os.path.exists(path)
    needed = os.W_OK if overwritten else os.W_OK | os.X_OK
    spot = path if overwritten else folder
    if not os.access(spot, needed, effective_ids=True):
        raise NeedsOperator(
            f"{spot} is not writable for user {_user()}", hint="give it the right to write there"
        )


def _snapshot(path: Path) -> dict[str, Any]:
    with explained(f"read {path}"):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return {"path": str(path), "content": None}
        if stat.S_ISLNK(status.st_mode):
            return {"path": str(path), "link": os.readlink(path)}  # replaced, never followed
    data = read_file(path, limit=LIMIT, follow=False)
    return {
        "path": str(path),
        "content": base64.b64encode(data).decode(),
        "mode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _owner(entry: Copies) -> tuple[int, int]:
    uid = -1 if entry.owner is None else _number(entry.owner, "user", _uid)
    gid = -1 if entry.group is None else _number(entry.group, "group", _gid)
    return uid, gid


def _number(name: str, kind: str, find: Callable[[str], int]) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return find(name)
    except KeyError:
        raise NeedsOperator(
            f"{kind} {name!r} is not known on this machine",
            hint=f"create it, or name another {kind}",
        ) from None


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
