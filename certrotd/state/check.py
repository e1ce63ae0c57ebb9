"""The state as a whole: what a kill left in it, and whether its owner can read and write it.

The latter is looked at every second: so only what all subjects share, and the directories of
the rest.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from certrotd.errors import Failure, NeedsOperator, failed
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.ownership import user_name
from certrotd.files.writable import check_directory
from certrotd.files.writing import sweep_temporaries

_SHARED = (
    *("accounts", "audit", "budget", "internal", "solvers"),
    *(
        "keyrings",
        "keyring-marks",
        "census",
        "consent",
        "counts",
        "drills",
        "scans",
        "suspects",
        "heartbeats",
        "written",
        "rewritings",
        "managed-keys",
        "deliveries",
    ),
)
_BY_SUBJECT = ("history", "journal", "locks", "responder", "wake")
FOLDERS = frozenset({*_SHARED, *_BY_SUBJECT})
"""What certrotd makes in its state directory, beside the store; lost+found is none of it."""

ROOM = 64 * 1024
"""So many bytes a rotation takes at least: its journal, its history, a generation."""

_FILES = (".json", ".jsonl", ".key", ".crt", ".pem", "lock")
_WRITTEN = ("audit.jsonl", "lock")


def unwritable(state: Path, *stores: Path) -> NeedsOperator | None:
    """The first thing that stands in the way, with the cure; None if all is well.

    Root is asked for whoever owns ``state``, as the daemon may be somebody else.
    """
    try:
        owner = os.stat(state).st_uid
    except OSError:
        return None  # a directory that is gone is another trouble
    for path in (str(state), *_parts(str(state)), *map(str, stores)):
        why = _hindrance(path, owner)
        if why is not None:
            return _said(path, why, state, owner)
    return None


def full(state: Path, *stores: Path) -> Failure | None:
    """Why nothing can be written in one of the directories, of whatever kind it is; None if it can.

    Before anything is tried: a rotation that cannot be recorded would only fail. Who is a guest in
    ``state`` is not told what he may not do: its owner's daemon may.
    """
    for path in (state, *stores):
        for trouble in failed(partial(check_directory, path, room=ROOM)):
            if not (_is_denied(trouble) and _is_guest(state)):
                return trouble
    return None


def sweep_state(state: Path) -> None:
    """Remove the temporary files that a kill left in ``state``; the store sweeps itself.

    Raises DiskTrouble.
    """
    sweep_temporaries(state)
    for each in FOLDERS:
        for folder, _, _ in os.walk(state / each):
            sweep_temporaries(Path(folder))


def _parts(state: str) -> Iterator[str]:
    yield from _files(state)
    for each in _BY_SUBJECT:
        yield f"{state}/{each}"
        yield from _folders(f"{state}/{each}")
    for each in _SHARED:
        for folder, _, _ in os.walk(f"{state}/{each}"):
            yield folder
            yield from _files(folder)


def _folders(folder: str) -> list[str]:
    """One of each kind."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # the folder's own check reports it


def _files(folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return  # the folder's own check reports it
    yield from (f"{folder}/{name}" for name in names if name.endswith(_FILES))


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
        wanted = os.R_OK | os.W_OK if path.endswith(_WRITTEN) else os.R_OK
    else:
        return None  # a socket, or a link; what is made of it tells
    user = os.geteuid()
    if user == 0 and owner != 0:
        bits = found.st_mode >> 6 if found.st_uid == owner else found.st_mode
        return None if bits & wanted == wanted else OSError(errno.EACCES, "")
    if os.access(path, wanted, effective_ids=True):
        return None
    try:
        read_only = wanted & os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY
    except FileNotFoundError:
        return None  # as above: a folder of wake goes with its last note
    return OSError(errno.EROFS if read_only else errno.EACCES, "")


def _said(path: str, why: OSError, state: Path, owner: int) -> NeedsOperator:
    if why.errno == errno.EROFS:
        return NeedsOperator(
            f"{path} is on a file system that is mounted read-only: nothing rotates",
            hint=f"mount it writable: mount -o remount,rw {shlex.quote(path)}",
        )
    if why.errno != errno.EACCES:
        return NeedsOperator(f"{path} cannot be looked at: {why.strerror}: nothing rotates")
    user = user_name(owner if os.geteuid() == 0 else os.geteuid())
    whose = os.stat(path, follow_symlinks=False).st_uid
    trouble = f"{path} belongs to {user_name(whose)} and cannot be used by {user}"
    if _is_guest(state):
        # what its owner's daemon does is none of its business, nor is the owner
        return NeedsOperator(trouble, hint=_as_owner(user_name(owner)))
    cure = f"chown -R {shlex.quote(user)}: {shlex.quote(str(state))}"
    if user == user_name(whose):
        cure = f"chmod u+rwX {shlex.quote(path)}"
    return NeedsOperator(f"{trouble}: nothing rotates", hint=f"as root: {cure}")


def _is_guest(state: Path) -> bool:
    """Whether a daemon on ``state`` runs as another user than this process, which is not root."""
    try:
        return os.geteuid() not in (0, os.stat(state).st_uid)
    except OSError:
        return False  # nobody's yet


def _is_denied(trouble: Failure) -> bool:
    return isinstance(trouble, DiskTrouble) and trouble.errno == errno.EACCES


def _as_owner(owner: str) -> str:
    """How somebody else does what only the state's owner can."""
    if owner == "root":
        return "run this as root"
    return f"run this as root, or as {owner}: runuser -u {shlex.quote(owner)} -- certrotd …"
