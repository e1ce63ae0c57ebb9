"""What is refused on another host says what to do about it."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Any, cast

import pytest
from asyncssh import SFTPAttrs, SFTPClient, SFTPNoSuchFile

from certrotd.errors import NeedsOperator
from certrotd.ssh.folder import NewFile, RemoteFolder
from certrotd.ssh.session import Session

NAME = "000007-0123456789abcdef"


class Emptied:
    """A host where ``live`` leads to a folder that has lost its files."""

    name = "edge"

    def sftp(self, what: str, use: Callable[[SFTPClient], Awaitable[Any]]) -> Any:
        async def act() -> Any:
            return await use(cast("SFTPClient", self))

        return asyncio.run(act())

    async def lstat(self, path: str) -> SFTPAttrs:
        kinds = {"/d/live": stat.S_IFLNK, f"/d/generations/{NAME}": stat.S_IFDIR}
        if path not in kinds:
            raise SFTPNoSuchFile("it is not there")
        return SFTPAttrs(permissions=kinds[path] | 0o755, uid=0, gid=0)

    async def readlink(self, path: str) -> str:
        assert path == "/d/live"
        return f"generations/{NAME}"

    def __str__(self) -> str:
        return "edge (192.0.2.1:22)"


def test_a_live_folder_that_was_damaged_is_not_replaced_and_what_to_do_is_said() -> None:
    """Nothing else would end it where nobody remembers what was delivered."""
    folder = RemoteFolder(cast("Session", Emptied()), PurePosixPath("/d"))
    with pytest.raises(NeedsOperator, match=rf"{NAME} of edge .* is live") as caught:
        folder.upload(NAME, [NewFile("privkey.pem", b"key", 0o640)])
    assert "rotate its certificate with --force, or remove /d/live there" in caught.value.hint
