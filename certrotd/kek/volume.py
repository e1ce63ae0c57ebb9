"""Entries of a Secret that the kubelet has mounted: links of one certain form, to files of root's.

``NAME`` leads to ``..data/NAME``, and ``..data`` to a directory beside it that has a time in its
name; the kubelet changes all entries together by another ``..data``
(k8s.io/kubernetes/pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

HINT = "mount the Secret with defaultMode: 0400, and with fsGroup where certrotd is not root"
_LINK = "..data"
_WRITES_OR_OTHERS = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


def entry(path: Path) -> Path | None:
    """The file itself that the kubelet has put there; None where ``path`` is no such link."""
    try:
        if os.readlink(path) != f"{_LINK}/{path.name}":
            return None
        version = os.readlink(path.parent / _LINK)
    except OSError:
        return None
    if not version.startswith("..") or "/" in version or len(version) < len("..2006"):
        return None
    return path.parent / version / path.name


def exposed(status: os.stat_result) -> str | None:
    """Who else than the containers of this pod may use such a file, in words.

    Only they have the fsGroup, by which the kubelet lets others than root read it.
    """
    if status.st_mode & _WRITES_OR_OTHERS:
        return "can be read or written by others than its owner and its pod's group"
    if status.st_mode & stat.S_IRGRP and status.st_gid not in {os.getegid(), *os.getgroups()}:
        return f"can be read by the group {status.st_gid}, which is not certrotd's"
    return None
