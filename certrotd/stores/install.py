"""Copies of the live generation at the paths applications read, replaced together or put back."""

from __future__ import annotations

import base64
import errno
import grp
import json
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.errors import Failure, InvalidInput, NeedsOperator, failed
from certrotd.files.acl import read_acl, with_mode
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.ownership import user_name
from certrotd.files.reading import is_there, read_file
from certrotd.files.writable import probe_replacing
from certrotd.files.writing import (
    NewFile,
    do_each,
    make_directory,
    remove_file,
    remove_tree,
    replace_files,
    replace_symlink,
    temporary_of,
    write_file,
    write_in_place,
)
from certrotd.jsontext import parsed
from certrotd.pki.generation import Copy
from certrotd.stores.bundle import files_of, same_pkcs12, to_pkcs12
from certrotd.stores.copies import PRIVATE, copies_of

LIMIT = 4 * 1024 * 1024
MANIFEST = "manifest.json"
MAX_KEPT = 16 * 1024 * 1024


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
        self._backups = backups

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:
        """As Installer.problems: directories, owners and secrets that are not there."""
        for entry in self._entries:
            yield from failed(partial(_check_owner, entry))
            if "pkcs12" in entry.paths:
                yield from failed(entry.password)
            for shape, path in entry.paths.items():
                yield from failed(partial(_check, path, entry, _mode(entry, shape), dry=dry))

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
                self._new(entry, shape, self._content(entry, shape, shapes, key, chain)),
            )
            for entry in self._entries
            for shape in entry.paths
        ]
        self._keep(backup)
        _write(writes)

    def restore(self, backup: str) -> None:
        """Put back what install() found; without its manifest nothing had been replaced yet."""
        in_place = {str(p): e.in_place for e in self._entries for p in e.paths.values()}
        writes: list[tuple[bool, NewFile]] = []
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
                owner = _given_back(kept["mode"], kept["uid"], kept["gid"])
                acl = base64.b64decode(kept["acl"]) if kept["acl"] else None
                file = NewFile(path, data, kept["mode"], owner, acl)
                writes.append((bool(in_place.get(str(path))), file))
        _write(writes)

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
        """As Installer.sweep; also what a look ahead could not remove beside a copy."""
        left: list[str] = []
        with explained(f"read {self._backups}"), suppress(FileNotFoundError):
            left = os.listdir(self._backups)
        paths = [path for entry in self._entries for path in entry.paths.values()]
        backups = [partial(remove_tree, self._backups / each) for each in left]
        do_each([*backups, *(partial(_sweep, path) for path in paths)])

    def _keep(self, backup: str) -> None:
        folder = self._backups / backup
        if is_there(folder / MANIFEST):
            return  # a crash came after it: what is at the paths now may be half replaced
        kept = [_snapshot(path) for entry in self._entries for path in entry.paths.values()]
        manifest = json.dumps(kept).encode()
        if len(manifest) > MAX_KEPT:
            raise NeedsOperator(
                f"the files to replace have more than {MAX_KEPT} bytes together",
                hint="they are not certificates; correct the paths under install",
            )
        make_directory(folder, mode=0o700)
        # one file holds all of it, old keys too: whole or absent, and readable by nobody else
        write_file(folder / MANIFEST, manifest, mode=0o600)

    def _kept(self, backup: str) -> list[dict[str, Any]]:
        path = self._backups / backup / MANIFEST
        try:
            kept = parsed(read_file(path, limit=MAX_KEPT, follow=False))
            if not isinstance(kept, list):
                raise TypeError(kept)
            return [_as_found(each) for each in kept]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError, AttributeError):
            raise NeedsOperator(
                f"{path} is not what certrotd wrote",
                hint="restore the installed copies by hand",
            ) from None

    def _content(
        self, entry: Copies, shape: str, shapes: Mapping[str, bytes], key: bytes, chain: bytes
    ) -> bytes:
        if shape == "pkcs12":
            legacy, password = entry.pkcs12_cipher == "legacy", entry.password()
            return to_pkcs12(key, chain, name=self._name, password=password, legacy=legacy)
        return shapes[shape]

    def _new(self, entry: Copies, shape: str, data: bytes) -> NewFile:
        """The copy as it is to be; whom the old one let in by a list of its own, it lets in too."""
        path, mode = entry.paths[shape], _mode(entry, shape)
        with explained(f"read {path}"):
            acl = None if os.path.islink(path) else read_acl(path)
        owner = _owner(entry)
        return NewFile(path, data, mode, owner, None if acl is None else with_mode(acl, mode))


def _mode(entry: Copies, shape: str) -> int:
    return entry.mode if shape in PRIVATE else entry.cert_mode


def _write(files: Iterable[tuple[bool, NewFile]]) -> None:
    """Write each in place or not, those that are renamed together."""
    known = list(files)
    replace_files([each for in_place, each in known if not in_place])
    for in_place, each in known:
        if in_place:
            write_in_place(each.path, each.data, mode=each.mode, owner=each.owner, acl=each.acl)


def _sweep(path: Path) -> None:
    # asked first: where the file alone is mounted writable, removing nothing fails, too
    temporary = temporary_of(path)
    if is_there(temporary):
        remove_file(temporary)


def _check(path: Path, entry: Copies, mode: int, *, dry: bool) -> None:
    folder, in_place = path.parent, entry.in_place
    if not os.path.isdir(folder):
        raise NeedsOperator(f"{folder} is not a directory", hint="create it")
    linked = os.path.islink(path)
    if os.path.isdir(path) and not linked:
        raise NeedsOperator(f"{path} is a directory", hint="name a file in it")
    if in_place and linked:
        raise NeedsOperator(
            f"{path} is a symbolic link", hint="name its target, or remove in_place"
        )
    # a file that is written in place may stand, bind-mounted, in a directory that is not ours
    overwritten = in_place and os.path.exists(path)
    needed = os.W_OK if overwritten else os.W_OK | os.X_OK
    spot = path if overwritten else folder
    if not os.access(spot, needed, effective_ids=True):
        raise NeedsOperator(
            f"{spot} is not writable for user {_user()}", hint="give it the right to write there"
        )
    with explained(f"look at {path}"):
        there = os.lstat(path) if is_there(path) and not linked else None
    if there is not None:
        given = _given_back(stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid)
        if why := _not_to_give(*given):
            whose = f"{path} belongs to {user_name(there.st_uid)}, group {there.st_gid}"
            raise NeedsOperator(
                f"{whose}, and certrotd could not restore it after a failure: {why}",
                hint=f"chown {_user()}: {path}, or remove it",
            )
    if not (dry or overwritten):
        probe_replacing(path, mode=mode, owner=_owner(entry))


def _check_owner(entry: Copies) -> None:
    """Whether user and group are there, and may be given files by whom certrotd runs as."""
    if why := _not_to_give(*_owner(entry)):
        raise NeedsOperator(
            f"copies cannot be given owner {entry.owner} and group {entry.group}: {why}",
            hint="run certrotd as root, give its service CAP_CHOWN, leave owner out, or name a "
            f"group that {_user()} is in",
        )


def _not_to_give(uid: int, gid: int) -> str | None:
    """Why a file cannot be given to a user and a group (-1 keeps one), or None if it can be."""
    if may_give_away():
        return None
    if uid not in (-1, os.geteuid()):
        return f"user {_user()} may not give files to {user_name(uid)}"
    if gid not in (-1, os.getegid(), *os.getgroups()):
        return f"user {_user()} is not in group {gid}"
    return None


def _given_back(mode: int, uid: int, gid: int) -> tuple[int, int]:
    """The user and the group that a file is put back with.

    A group that may do no more with it than everybody is left out where it cannot be given.
    """
    more = (mode >> 3) & ~mode & 0o7
    return uid, -1 if not more and _not_to_give(-1, gid) else gid


def _snapshot(path: Path) -> dict[str, Any]:
    with explained(f"read {path}"):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return {"path": str(path), "content": None}
        if stat.S_ISLNK(status.st_mode):
            return {"path": str(path), "link": os.readlink(path)}  # replaced, never followed
        acl = read_acl(path)
    data = read_file(path, limit=LIMIT, follow=False)
    return {
        "path": str(path),
        "content": base64.b64encode(data).decode(),
        "mode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "acl": None if acl is None else base64.b64encode(acl).decode(),
    }


def _as_found(kept: dict[str, Any]) -> dict[str, Any]:
    """What _snapshot wrote; KeyError, TypeError, AttributeError or ValueError for anything else."""
    texts, numbers = ["path"], []
    if "link" in kept:
        texts.append("link")
    elif kept["content"] is not None:
        texts.append("content")
        numbers = ["mode", "uid", "gid"]
        for coded in (kept["content"], kept["acl"] or ""):
            base64.b64decode(coded, validate=True)
    for names, kind in ((texts, str), (numbers, int)):
        for name in names:
            if type(kept[name]) is not kind:
                raise TypeError(name)
    return kept


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


def may_give_away() -> bool:
    """Whether this thread may change owners as it likes: root, or who has CAP_CHOWN."""
    try:
        status = Path("/proc/thread-self/status").read_text()
    except OSError:  # no /proc here
        return os.geteuid() == 0
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(found and int(found[1], 16) & 1)


def _user() -> str:
    return user_name(os.geteuid())
