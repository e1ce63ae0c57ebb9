"""Owners of files: those a caller names or, where root writes, the owner of the directory.

So the user that a daemon runs as goes on with what ``sudo certrotd rotate`` wrote.
"""

from __future__ import annotations

import os
import pwd
import stat

from certrotd.files.acl import set_acl
from certrotd.files.disktrouble import DiskTrouble


def give(handle: int, folder: int) -> None:
    """Let the owner of the directory ``folder`` have what root opened; raises DiskTrouble."""
    if heir := heir_of(folder, os.fstat(handle)):
        try:
            os.fchown(handle, *heir)
        except OSError as error:
            user = user_name(heir[0])
            raise DiskTrouble(
                f"give a file to {user}, whose directory it is in",
                error,
                hint=f"run this as {user}: runuser -u {user} -- certrotd …",
            ) from error


def heir_of(folder: int, created: os.stat_result) -> tuple[int, int] | None:
    """Who is to own what root has created in ``folder``; None if nothing is to be changed.

    What belongs to somebody else already is theirs, whoever the directory belongs to.
    """
    if os.geteuid() != 0 or created.st_uid != 0:
        return None
    home = os.fstat(folder)
    owner = home.st_uid, home.st_gid
    return None if owner == (created.st_uid, created.st_gid) else owner


def set_owner(
    handle: int, mode: int, owner: tuple[int, int] | None, acl: bytes | None = None
) -> None:
    # the owner first: changing it clears set-id bits, and the wider mode must never meet the
    # wrong group
    now = os.fstat(handle)
    if owner is not None and (now.st_uid, now.st_gid) != tuple(
        have if want == -1 else want
        for want, have in zip(owner, (now.st_uid, now.st_gid), strict=True)
    ):
        os.fchown(handle, *owner)
    if acl is not None:
        set_acl(handle, acl)
    elif stat.S_IMODE(now.st_mode) != mode:
        os.fchmod(handle, mode)


def user_name(uid: int) -> str:
    """The user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
