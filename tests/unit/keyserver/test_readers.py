"""Who may read a keyring."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from certrotd.keyserver.readers import Readers
from certrotd.keyserver.server import Peer

ME = pwd.getpwuid(os.geteuid())
STRANGER = Peer(1, 4_000_000, 4_000_001)


@pytest.mark.parametrize("user", [ME.pw_name, ME.pw_uid])
def test_a_user_is_listed_by_name_or_number(user: str | int) -> None:
    """And nobody else is for that."""
    readers = Readers(users=frozenset({user}))
    assert readers.include(Peer(1, ME.pw_uid, 4_000_001))
    assert not readers.include(STRANGER)


def test_a_group_is_that_of_the_process_or_of_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service often has the group by its user alone."""
    group = grp.getgrgid(ME.pw_gid)
    for each in (group.gr_name, group.gr_gid):
        readers = Readers(groups=frozenset({each}))
        assert readers.include(Peer(1, 4_000_000, group.gr_gid))
        assert readers.include(Peer(1, ME.pw_uid, 4_000_001))
        assert not readers.include(STRANGER)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4_000_002])
    assert Readers(groups=frozenset({4_000_002})).include(Peer(1, ME.pw_uid, 4_000_001))


def test_a_name_that_the_machine_does_not_know_is_nobody() -> None:
    """Not even a user without a number."""
    readers = Readers(frozenset({"no-such-user", "\0"}), frozenset({"no-such-group", "\0"}))
    assert not readers.include(STRANGER)
    assert not readers.include(Peer(1, 0, 0))
    assert not readers.include(Peer(1, -1, -1))


def test_nobody_is_listed_who_is_not_named() -> None:
    """Root neither."""
    assert not Readers().include(Peer(1, 0, 0))
