"""The state as a whole: what a kill left in it, and whether its owner can read and write it.

The latter is looked at every second: so only what all certificates share, and the directories of
the rest.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from certrotd.errors import NeedsOperator
from certrotd.rotation.files import sweep_temporaries, user_name

_BY_CERTIFICATE = frozenset({"locks", "journal", "history", "responder"})
_WRITTEN = (".lock", "audit.jsonl")
_DEPTH = 2


def unwritable(state: Path, store: Path) -> NeedsOperator | None:
    """The first thing that stands in the way, with the cure; None if all is well.

    Root is asked for whoever owns ``state``, as the daemon may be somebody else.
    """
    try:
        owner = os.stat(state).st_uid
    except OSError:
        return None  # a directory that is gone is another trouble
    for path in (state, *_below(str(state), str(store), _DEPTH), store):
        why = _hindrance(str(path), owner)
        if why is not None:
            return _said(str(path), why, state, owner)
    return None


def sweep_state(state: Path, store: Path) -> None:
    """Remove the temporary files that a kill left in ``state``; the store sweeps itself.

    Raises DiskTrouble.
    """
    for folder, below, _ in os.walk(state):
        below[:] = [each for each in below if Path(folder, each) != store]
        sweep_temporaries(Path(folder))


def _below(folder: str, store: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = [(each.path, each.is_dir(follow_symlinks=False)) for each in entries]
    except OSError:
        return  # it was said of the directory itself
    for path, is_directory in found:
        if path == store:
            continue
        yield path
        if is_directory and depth and os.path.basename(path) not in _BY_CERTIFICATE:
            yield from _below(path, store, depth - 1)


def _hindrance(path: str, owner: int) -> OSError | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None  # renamed or removed just now, or still to be made
    except OSError as error:
        return error
    if stat.S_ISDIR(found.st_mode):
        wanted = os.R_OK | os.W_OK | os.X_OK
    elif stat.S_ISREG(found.st_mode):
        written = path.endswith(_WRITTEN) or os.path.basename(path) == "lock"
        wanted = os.R_OK | os.W_OK if written else os.R_OK
    else:
        return None  # a socket, or a link; what is made of it tells
    user = os.geteuid()
    if user == 0 and owner != 0:
        bits = found.st_mode >> 6 if found.st_uid == owner else found.st_mode
        return None if bits & wanted == wanted else OSError(errno.EACCES, "")
    if os.access(path, wanted, effective_ids=True):
        return None
    read_only = wanted & os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY
    return OSError(errno.EROFS if read_only else errno.EACCES, "")


def _said(path: str, why: OSError, state: Path, owner: int) -> NeedsOperator:
    if why.errno == errno.EROFS:
        return NeedsOperator(
            f"{path} is on a file system that is mounted read-only: nothing is rotated",
            hint=f"mount it writable: mount -o remount,rw {shlex.quote(path)}",
        )
    if why.errno != errno.EACCES:
        return NeedsOperator(f"{path} cannot be looked at: {why.strerror}: nothing is rotated")
    user = user_name(owner if os.geteuid() == 0 else os.geteuid())
    whose = os.stat(path, follow_symlinks=False).st_uid
    cure = f"chown -R {shlex.quote(user)}: {shlex.quote(str(state))}"
    if user == user_name(whose):
        cure = f"chmod u+rwX {shlex.quote(path)}"
    return NeedsOperator(
        f"{path} belongs to {user_name(whose)} and cannot be used by {user}: nothing is rotated",
        hint=f"as root: {cure}",
    )
