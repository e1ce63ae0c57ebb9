"""POSIX access control lists (acl(5)) of files that are replaced, as the kernel keeps them."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

NAME = "system.posix_acl_access"
_NONE = {errno.ENODATA, errno.ENOTSUP, errno.ENOENT, errno.ENOSYS}
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _GROUP, _OTHER = 0x01, 0x04, 0x20


def read_acl(file: Path | int) -> bytes | None:
    """The list of a file, or of an open one; None without one. Raises OSError."""
    try:
        if isinstance(file, int):
            return os.getxattr(file, NAME)
        return os.getxattr(file, NAME, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise


def with_mode(acl: bytes, mode: int) -> bytes:
    """The list with the rights of owner, owning group and others as in ``mode``.

    Those of named users and groups, and the mask over them, stay.
    """
    rights = {_OWNER: mode >> 6 & 7, _GROUP: mode >> 3 & 7, _OTHER: mode & 7}
    entries = _ENTRY.iter_unpack(acl[_HEADER.size :])
    changed = (_ENTRY.pack(tag, rights.get(tag, old), who) for tag, old, who in entries)
    return acl[: _HEADER.size] + b"".join(changed)


def set_acl(handle: int, acl: bytes) -> None:
    """Give an open file the list, and with it its mode; raises OSError."""
    os.setxattr(handle, NAME, acl)
