"""Who else than certrotd may use a key on disk, and what to do about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from certrotd.files.ownership import user_name
from certrotd.files.shared import OTHERS_WRITE

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def exposures(path: Path, *, owner: int, beside: Path) -> Iterator[str]:
    """What is wrong with a file that holds a key, or with its directory; raises OSError.

    Both belong to ``owner``, as does ``beside``. A group that has no rights does not matter.
    """
    status, shown = os.lstat(path), quote(str(path))
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        if mode & OTHERS_WRITE:
            yield f"others than its owner may replace what is in {path} (chmod go-w {shown})"
    elif not stat.S_ISREG(status.st_mode):
        return
    elif mode & _OTHERS:
        yield f"others than its owner may use {path} (chmod 600 {shown})"
    if status.st_uid != owner:
        theirs, ours = user_name(status.st_uid), user_name(owner)
        yield f"{path} belongs to {theirs}, {beside} to {ours} (chown {ours} {shown})"
