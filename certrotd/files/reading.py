"""Reading what is on disk: whole, within a limit, and never something else than a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from certrotd.errors import InvalidInput
from certrotd.files.disktrouble import DiskTrouble, explained

_CHUNK = 64 * 1024


def read_file(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises FileNotFoundError, DiskTrouble, or InvalidInput for anything larger or not a file.
    """
    return read_status(path, limit=limit, follow=follow)[0]


def read_status(path: Path, *, limit: int, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """As read_file, with the status of the very file that was read."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskTrouble(f"read {path}", error) from error
    try:
        with explained(f"read {path}"):
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInput(f"{path} is not a regular file")
            data = _read_up_to(handle, limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise InvalidInput(
            f"{path} is larger than {limit} bytes", hint="it cannot be the right file"
        )
    return data, status


def _read_up_to(handle: int, limit: int) -> bytes:
    # a file object would ask the system four things more of every file
    data, asked = b"", min(limit, _CHUNK)
    while part := os.read(handle, asked):
        data += part
        if len(part) < asked or len(data) == limit:
            break  # a regular file gives less than was asked for at its end only (read(2))
        asked = min(limit - len(data), max(_CHUNK, len(data)))
    return data


def is_there(path: str | Path) -> bool:
    """Whether there is anything at ``path``, be it a link; raises DiskTrouble if nobody can tell.

    os.path.exists and its kin take a disk that fails for a file that is not there.
    """
    with explained(f"look at {path}"):
        try:
            os.lstat(path)
        except FileNotFoundError:
            return False
    return True
