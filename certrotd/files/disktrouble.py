"""What the file system refuses, in words: which path, why, and what helps."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TypeGuard

from certrotd.errors import Transient, of_the_machine

_HINTS = {
    errno.ENOSPC: "free some space on that file system",
    errno.EDQUOT: "raise the quota",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "give the user certrotd runs as the right to do so",
    errno.EPERM: "give the user certrotd runs as the right to do so",
    errno.ENOENT: "create the directory",
    errno.ENOTDIR: "a file stands where a directory belongs; move it away",
    errno.EISDIR: "a directory stands where a file belongs; move it away",
    errno.ELOOP: "a symbolic link stands where a file or directory belongs; remove it",
}


class DiskTrouble(Transient):
    """The file system refused; ``errno`` is the system's number for why."""

    def __init__(self, doing: str, error: OSError, *, hint: str = "") -> None:
        reason = f"{_unnamed(doing, error)}{error.strerror or error}"
        hint = of_the_machine(error) or hint or _HINTS.get(error.errno or 0, "")
        super().__init__(f"cannot {doing}: {reason}", hint=hint)
        self.errno = error.errno


def _unnamed(doing: str, error: OSError) -> str:
    """The paths that the error is about and ``doing`` says nothing of, for a message."""
    names = [os.fsdecode(each) for each in (error.filename, error.filename2) if _is_path(each)]
    return "".join(f"{name}: " for name in names if os.path.isabs(name) and name not in doing)


def _is_path(name: object) -> TypeGuard[str | bytes]:
    return isinstance(name, str | bytes)  # or the number of a descriptor


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn an OSError within into a DiskTrouble that says what was being done."""
    try:
        yield
    except OSError as error:
        raise DiskTrouble(doing, error) from error
