"""Guards against lost mounts: are the directories still the ones certrotd began with?"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from certrotd.errors import Failure, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble, explained

_Identity = tuple[int, int]


class MountGuard:
    """Remembers which directories these paths are, those of ``before`` as it does.

    One that does not exist yet may come.

    A file system that is gone from its mount point leaves an empty directory, where every
    certificate would seem to be missing, and would be ordered anew.
    """

    def __init__(self, paths: Sequence[Path], before: MountGuard | None = None) -> None:
        known = before._known if before is not None else {}
        self._known: dict[Path, _Identity | None] = {
            path: known[path] if path in known else _at_first(path) for path in paths
        }

    def trouble(self) -> Failure | None:
        """Which is not the same now, if any."""
        for path, known in self._known.items():
            try:
                found = _identity(path)
            except DiskTrouble as trouble:
                return NeedsOperator(f"{trouble.message}: nothing rotates", hint=trouble.hint)
            if known is None:
                self._known[path] = found
            elif found != known:
                how = "is another directory than at the start" if found else "is gone"
                return NeedsOperator(
                    f"{path} {how}: nothing rotates",
                    hint="bring it back, or restart certrotd to use what is there now",
                )
        return None


def _at_first(path: Path) -> _Identity | None:
    try:
        return _identity(path)
    except DiskTrouble:
        return None  # the next call reports it


def _identity(path: Path) -> _Identity | None:
    try:
        with explained(f"look at {path}"):
            found = os.stat(path)
    except DiskTrouble as trouble:
        if trouble.errno == errno.ENOENT:
            return None
        raise
    return found.st_dev, found.st_ino
