"""Whom files may be given to: users and groups by name, and what this process may give them."""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path

from certrotd.errors import NeedsOperator
from certrotd.files.ownership import user_name


def owner_of(owner: str | None, group: str | None) -> tuple[int, int]:
    """Uid and gid of names or numbers, -1 for None; raises NeedsOperator for unknown names."""
    uid = -1 if owner is None else _number(owner, "user", _uid)
    gid = -1 if group is None else _number(group, "group", _gid)
    return uid, gid


def check_owner(owner: str | None, group: str | None) -> None:
    """Whether user and group are there, and may be given files; raises NeedsOperator."""
    if why := not_to_give(*owner_of(owner, group)):
        raise NeedsOperator(
            f"files cannot be given owner {owner} and group {group}: {why}",
            hint="run certrotd as root, give its service CAP_CHOWN, leave owner out, or name a "
            f"group that {own_name()} is in",
        )


def not_to_give(uid: int, gid: int) -> str | None:
    """Why a file cannot be given to a user and a group (-1 keeps one), or None if it can be."""
    if may_give_away():
        return None
    if uid not in (-1, os.geteuid()):
        return f"user {own_name()} may not give files to {user_name(uid)}"
    if gid not in (-1, os.getegid(), *os.getgroups()):
        return f"user {own_name()} is not in group {gid}"
    return None


def given_back(mode: int, uid: int, gid: int) -> tuple[int, int]:
    """The user and the group that a file is put back with.

    A group that may do no more with it than everybody is left out where it cannot be given.
    """
    more = (mode >> 3) & ~mode & 0o7
    return uid, -1 if not more and not_to_give(-1, gid) else gid


def may_give_away() -> bool:
    """Whether this thread may change owners as it likes: root, or who has CAP_CHOWN."""
    try:
        status = Path("/proc/thread-self/status").read_text()
    except OSError:  # no /proc here
        return os.geteuid() == 0
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(found and int(found[1], 16) & 1)


def own_name() -> str:
    """The user that certrotd runs as."""
    return user_name(os.geteuid())


def _number(name: str, kind: str, find: Callable[[str], int]) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return find(name)
    except KeyError:
        raise NeedsOperator(
            f"{kind} {name!r} is not known on this machine",
            hint=f"create it, or name another {kind}",
        ) from None


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid
