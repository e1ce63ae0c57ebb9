"""Directories in which others than their owner may replace what is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from certrotd.errors import UsageError
from certrotd.files.disktrouble import explained

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def others_replace(status: os.stat_result, others: int = OTHERS_WRITE) -> bool:
    """Whether those whom the bits of ``others`` mean may change a file, or what a directory holds.

    A sticky directory keeps the entries of each from the others.
    """
    mode = status.st_mode
    return bool(mode & others) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)


def refuse_open_to_all(folder: Path, *, why: str) -> None:
    """Raises UsageError if everybody may change what ``folder`` will hold, there or further up.

    In ``folder`` itself a sticky bit is no excuse: everybody may add a file. What is not there yet
    is nobody's. Raises DiskTrouble.
    """
    real = Path(os.path.realpath(folder))
    for each in dict.fromkeys((folder, real, *folder.parents, *real.parents)):
        with explained(f"look at {each}"):
            try:
                status = os.stat(each)
            except FileNotFoundError:
                continue
        itself = each in (folder, real) and status.st_mode & stat.S_IWOTH
        if itself or others_replace(status, stat.S_IWOTH):
            raise UsageError(
                f"everybody may write in {each}, {why}",
                hint=f"choose another directory, or chmod o-w {each}",
            )
