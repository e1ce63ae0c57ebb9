"""Who may read a keyring: users and groups of this machine."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from certrotd.keyserver.server import Peer


@dataclass(frozen=True)
class Readers:
    """Users and groups by name or number; a name that the machine does not know is nobody's.

    Names are looked up for each question, so that who is new in a group needs no restart. Root is
    in it only if it is listed.
    """

    users: frozenset[str | int] = frozenset()
    groups: frozenset[str | int] = frozenset()

    def include(self, peer: Peer) -> bool:
        """Whether the peer's user is listed, or one of its groups."""
        if peer.uid in map(_uid, self.users):
            return True
        listed = {_gid(each) for each in self.groups}
        return bool(listed & _groups(peer))


def _uid(user: str | int) -> int | None:
    try:
        return user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        return None


def _gid(group: str | int) -> int | None:
    try:
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        return None


def _groups(peer: Peer) -> set[int | None]:
    """The group of the process, and those that its user is in by the machine's files."""
    try:
        user = pwd.getpwuid(peer.uid)
    except (KeyError, OverflowError):
        return {peer.gid}
    return {peer.gid, *os.getgrouplist(user.pw_name, user.pw_gid)}
