"""What is refused on another host says what to do about it."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest
from asyncssh import SFTPAttrs, SFTPClient, SFTPNoSuchFile, SFTPOpUnsupported, SFTPServer

from certrotd.errors import NeedsOperator
from certrotd.ssh.files import NewFile
from certrotd.ssh.folder import RemoteFolder
from certrotd.ssh.session import Session
from tests.unit.ssh.conftest import Host

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


def test_what_cannot_be_removed_keeps_no_other_folder_and_no_key(
    host: Host, tmp_path: Path
) -> None:
    """A file or folder of somebody's in an old folder: it is named, and stays, and nothing else."""
    made = tmp_path / "srv"
    names = [f"{number:06}-0123456789abcdef" for number in range(1, 6)]
    for name in names:
        (made / "generations" / name).mkdir(parents=True)
        (made / "generations" / name / "privkey.pem").touch()
    (made / "live").symlink_to(f"generations/{names[-1]}")
    (made / "generations" / names[0] / "my notes").touch()
    (made / "generations" / names[1] / "backup").mkdir()
    with closing(host.session()) as session:
        folder = RemoteFolder(session, PurePosixPath(made))
        left = folder.prune(1, names[-1])
        assert f"{names[0]} of edge" in left
        assert "has 'my notes' in it (remove it there)" in left
        assert f"to remove {made}/generations/{names[1]}/backup failed" in left
        assert folder.surplus(1, names[-1]) == names[:2]
        (made / "generations" / names[0] / "my notes").unlink()
        (made / "generations" / names[1] / "backup").rmdir()
        assert folder.prune(1, names[-1]) == ""
    assert sorted(each.name for each in (made / "generations").iterdir()) == names[3:]


def test_no_key_stays_in_a_folder_that_cannot_be_removed(host: Host, tmp_path: Path) -> None:
    """It is the key that must not lie about."""
    folder = tmp_path / "srv" / "generations" / NAME
    (folder / "a folder").mkdir(parents=True)
    for name in ("fullchain.pem", "privkey.pem"):
        (folder / name).touch()
    with closing(host.session()) as session:
        there = RemoteFolder(session, PurePosixPath(tmp_path / "srv"))
        assert "has 'a folder' in it" in there.prune(0, "")
    assert [each.name for each in folder.iterdir()] == ["a folder"]


def test_a_folder_that_is_there_is_synced_before_it_is_said_to_be(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history says what a power cut there may cost; a crash here is no reason to guess."""
    (tmp_path / "srv" / "generations").mkdir(parents=True)
    files = [NewFile(name, b"pem", 0o640) for name in ("privkey.pem", "fullchain.pem")]
    server, synced = SFTPServer.fsync, list[object]()

    def fsync(self: SFTPServer, file: object) -> None:
        synced.append(file)
        server(self, file)

    def unsupported(_self: SFTPServer, _file: object) -> None:
        raise SFTPOpUnsupported("fsync")

    with closing(host.session()) as session:
        folder = RemoteFolder(session, PurePosixPath(tmp_path / "srv"))
        for times in (1, 2):
            monkeypatch.setattr(SFTPServer, "fsync", fsync)
            assert folder.upload(NAME, files).synced
            assert len(synced) == times * len(files)
        monkeypatch.setattr(SFTPServer, "fsync", unsupported)
        assert not folder.upload(NAME, files).synced
