"""A directory for what is only tried: nothing of it is left, whatever ends the process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from certrotd.files.disktrouble import explained
from certrotd.files.writable import check_directory
from certrotd.files.writing import make_directory
from certrotd.state.directory import StateDirectory


@contextmanager
def scratch_directory(path: Path, *, room: int) -> Iterator[Path]:
    """An empty directory at ``path`` of mode 0700, with ``room`` bytes, removed at the end.

    What a process that was killed left there is removed first: whoever calls it holds a lock.
    Raises DiskTrouble.
    """
    remove(path)
    with explained(f"make {path}"):
        make_directory(path, mode=0o700)
    try:
        check_directory(path, room=room)
        yield path
    finally:
        remove(path)


def scratch_state(path: Path, *, now: Callable[[], datetime]) -> StateDirectory:
    """State in a scratch directory: the same files as that of certrotd, of nothing real."""
    state = StateDirectory(path / "state", command="a rehearsal", now=now)
    state.make()
    return state


def remove(path: Path) -> None:
    """Remove such a directory, if it is there; raises DiskTrouble."""
    with explained(f"remove {path}"):
        if path.exists() or path.is_symlink():
            shutil.rmtree(path)
