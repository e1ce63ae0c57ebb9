"""Files that are replaced for an application, with what stood there kept until nobody needs it."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.errors import NeedsOperator
from certrotd.files.acl import read_acl, with_mode
from certrotd.files.disktrouble import explained
from certrotd.files.giving import given_back, not_to_give, own_name
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

LIMIT = 4 * 1024 * 1024
"""The most that one file may be, in bytes."""
MANIFEST = "manifest.json"
MAX_KEPT = 16 * 1024 * 1024


class Displaced:
    """What stood where files are written; ``directory`` is its own, ``hint`` for too much there.

    A backup is one file with all of it, old keys too: whole or absent, and readable by nobody else.
    """

    def __init__(self, directory: Path, *, hint: str) -> None:
        self._directory = directory
        self._hint = hint

    def keep(self, backup: str, paths: Iterable[Path]) -> None:
        """Keep what stands at ``paths``, unless this backup is there already.

        Then a crash came after it: what is at the paths now may be half replaced.
        """
        folder = self._directory / backup
        if is_there(folder / MANIFEST):
            return
        manifest = json.dumps([_snapshot(path) for path in paths]).encode()
        if len(manifest) > MAX_KEPT:
            raise NeedsOperator(
                f"the files to replace have more than {MAX_KEPT} bytes together", hint=self._hint
            )
        make_directory(folder, mode=0o700)
        write_file(folder / MANIFEST, manifest, mode=0o600)

    def restore(self, backup: str, *, in_place: Callable[[Path], bool]) -> None:
        """Put back what was kept; without its manifest nothing had been replaced yet."""
        writes: list[tuple[bool, NewFile]] = []
        for kept in self._kept(backup):
            path = Path(kept["path"])
            sweep_temporary(path)
            if _snapshot(path) == kept:
                continue  # a full disk may have no room for it a second time
            if "link" in kept:
                replace_symlink(path, kept["link"])
            elif kept["content"] is None:
                remove_file(path)
            else:
                data = base64.b64decode(kept["content"])
                owner = given_back(kept["mode"], kept["uid"], kept["gid"])
                acl = base64.b64decode(kept["acl"]) if kept["acl"] else None
                file = NewFile(path, data, kept["mode"], owner, acl)
                writes.append((in_place(path), file))
        write_files(writes)

    def forget(self, backup: str) -> None:
        """Drop a backup that is no longer needed."""
        remove_tree(self._directory / backup)

    def sweep(self, paths: Iterable[Path]) -> None:
        """Drop every backup, and what a crash left beside ``paths``."""
        left: list[str] = []
        with explained(f"read {self._directory}"), suppress(FileNotFoundError):
            left = os.listdir(self._directory)
        backups = [partial(remove_tree, self._directory / each) for each in left]
        do_each([*backups, *(partial(sweep_temporary, path) for path in paths)])

    def _kept(self, backup: str) -> list[dict[str, Any]]:
        path = self._directory / backup / MANIFEST
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
                hint="restore the installed files by hand",
            ) from None


def new_file(path: Path, data: bytes, *, mode: int, owner: tuple[int, int]) -> NewFile:
    """A file as it is to be; whom the old one let in by a list of its own, it lets in too."""
    with explained(f"read {path}"):
        acl = None if os.path.islink(path) else read_acl(path)
    return NewFile(path, data, mode, owner, None if acl is None else with_mode(acl, mode))


def write_files(files: Iterable[tuple[bool, NewFile]]) -> None:
    """Write each in place or not, those that are renamed together."""
    known = list(files)
    replace_files([each for in_place, each in known if not in_place])
    for in_place, each in known:
        if in_place:
            write_in_place(each.path, each.data, mode=each.mode, owner=each.owner, acl=each.acl)


def sweep_temporary(path: Path) -> None:
    """Remove what a crash left beside ``path``; raises DiskTrouble."""
    # asked first: where the file alone is mounted writable, removing nothing fails, too
    temporary = temporary_of(path)
    if is_there(temporary):
        remove_file(temporary)


def check_replaceable(
    path: Path, *, mode: int, owner: Callable[[], tuple[int, int]], in_place: bool, dry: bool
) -> None:
    """Whether ``path`` could be replaced, and put back after a failure; raises Failure if not.

    Unless ``dry``, a file is written beside it and removed again.
    """
    folder = path.parent
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
            f"{spot} is not writable for user {own_name()}",
            hint="give it the right to write there",
        )
    with explained(f"look at {path}"):
        there = os.lstat(path) if is_there(path) and not linked else None
    if there is not None:
        given = given_back(stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid)
        if why := not_to_give(*given):
            whose = f"{path} belongs to {user_name(there.st_uid)}, group {there.st_gid}"
            raise NeedsOperator(
                f"{whose}, and certrotd could not restore it after a failure: {why}",
                hint=f"chown {own_name()}: {path}, or remove it",
            )
    if not (dry or overwritten):
        probe_replacing(path, mode=mode, owner=owner())


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
