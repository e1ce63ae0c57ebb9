"""A directory on another host with a folder for each delivery, and ``live``, a link to one of them.

::

    DIRECTORY/live -> generations/000007-0123456789abcdef
    DIRECTORY/generations/000007-0123456789abcdef/{privkey,fullchain,…}.pem

A folder is written beside under a temporary name, read back, and renamed; ``live`` is replaced by
one rename. SFTP (draft-ietf-secsh-filexfer-02) cannot rename over anything: OpenSSH's
posix-rename@openssh.com can, and its fsync@openssh.com syncs files, of directories nothing does.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.ssh.files import (
    MAX_FILE,
    NewFile,
    Stamp,
    absent,
    kind_of,
    make_directory,
    read_file,
    sha256,
    stamp_of,
    status_of,
    sync_file,
    write_file,
)
from certrotd.ssh.session import Ended, Session

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SFTPError

LIVE, GENERATIONS, TEMPORARY = "live", "generations", ".certrotd-tmp"
MAX_ENTRIES = 10_000
"""A directory with more than that is not one of certrotd's."""
_FOLDER = re.compile(r"[0-9]{6,20}-[0-9a-f]{16}", re.ASCII)
_PLAIN = re.compile(r"\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", re.ASCII)
_READ_ONLY = 1  # ST_RDONLY of statvfs@openssh.com
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What the files are there, by name, and whether all of them were synced."""

    stamps: Mapping[str, Stamp]
    synced: bool


def is_folder(name: str) -> bool:
    """Whether ``name`` is that of a delivery's folder."""
    return _FOLDER.fullmatch(name) is not None


class RemoteFolder:
    """``directory`` on the host of ``session``; every method raises NeedsOperator or Transient."""

    def __init__(self, session: Session, directory: PurePosixPath) -> None:
        self.session = session
        self._directory = directory
        self._live = directory / LIVE
        self._generations = directory / GENERATIONS

    def __str__(self) -> str:
        return f"{self._directory} of {self.session.name}"

    def command(self, argv: Sequence[str], *, seconds: float) -> Ended:
        """As Session.command."""
        return self.session.command(argv, seconds=seconds)

    def live(self) -> str | None:
        """The folder that ``live`` leads to; None where there is no link."""
        return self._do(f"read {self._live}", self._read_live)

    def check(self) -> None:
        """Whether a delivery could be written here, but for the room; sweeps what a crash left."""
        self._do(f"look at {self._directory}", self._check)

    def upload(self, name: str, files: Sequence[NewFile]) -> Uploaded:
        """Have a folder of that name with these files, whole and read back.

        A folder that is there and whole stays; a damaged one is replaced, unless it is live: then
        NeedsOperator is raised. Not every server can sync.
        """
        return self._do(f"write {self._generations / name}", lambda s: self._upload(s, name, files))

    def different(self, name: str, wanted: Mapping[str, Stamp]) -> str | None:
        """Which file of a folder is not as it was delivered, and how; None if each is."""
        path = self._generations / name
        return self._do(f"read {path}", lambda sftp: self._different(sftp, path, wanted))

    def read(self, name: str, files: Sequence[str]) -> dict[str, bytes]:
        """Those of the files of a folder that are there."""
        path = self._generations / name

        async def read(sftp: SFTPClient) -> dict[str, bytes]:
            there = [each for each in files if await status_of(sftp, path / each)]
            return {each: (await read_file(sftp, path / each))[0] for each in there}

        return self._do(f"read {path}", read)

    def switch(self, name: str) -> None:
        """Have ``live`` lead to that folder, by one rename."""
        self._do(f"point {self._live} at {name}", lambda sftp: self._switch(sftp, name))

    def discard(self, name: str) -> None:
        """Remove a folder, whole or half written, unless ``live`` leads to it."""

        async def remove(sftp: SFTPClient) -> None:
            if await self._read_live(sftp) != name:
                await self._remove(sftp, self._generations / name)
            await self._remove(sftp, self._staging(name))

        self._do(f"remove {self._generations / name}", remove)

    def prune(self, keep: int, spare: str) -> str:
        """Remove surplus() folders; which stay and why, in words, or nothing if none does."""

        async def prune(sftp: SFTPClient) -> str:
            left = []
            for each in await self._surplus(sftp, keep, spare):
                try:
                    await self._remove(sftp, self._generations / each)
                except Failure as failure:
                    left.append(str(failure))
            await self._sweep(sftp)
            return "; ".join(left)

        return self._do(f"remove old folders of {self._generations}", prune)

    def surplus(self, keep: int, spare: str) -> list[str]:
        """The folders but the newest ``keep`` before the live one, and ``spare``."""
        what = f"list {self._generations}"
        return self._do(what, lambda sftp: self._surplus(sftp, keep, spare))

    def _do(self, what: str, act: Callable[[SFTPClient], Awaitable[T]]) -> T:
        return self.session.sftp(what, lambda sftp: self._explained(sftp, what, act(sftp)))

    async def _explained(self, sftp: SFTPClient, what: str, act: Awaitable[T]) -> T:
        import asyncssh

        try:
            return await act
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
            raise
        except asyncssh.SFTPError as error:
            raise await self._failure(sftp, what, error) from None
        except (UnicodeError, OverflowError):
            raise NeedsOperator(f"{self}: to {what} failed: it answers nonsense") from None

    async def _failure(self, sftp: SFTPClient, what: str, error: SFTPError) -> Failure:
        import asyncssh

        words = f"{self.session}: to {what} failed"
        if isinstance(error, asyncssh.SFTPPermissionDenied):
            hint = f"let the account write in {self._directory}, and give files that owner"
            return NeedsOperator(f"{words}: permission denied", hint=hint)
        if isinstance(error, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath):
            return NeedsOperator(f"{words}: it is not there", hint="create the directory there")
        if isinstance(error, asyncssh.SFTPOpUnsupported):
            why = "the server cannot (OpenSSH's can)"
            return NeedsOperator(f"{words}: {why}", hint="let its SFTP server be OpenSSH's")
        # OpenSSH says no more than "Failure", whatever the reason
        with suppress(asyncssh.SFTPError):
            room = await sftp.statvfs(str(self._directory))
            if room.flags & _READ_ONLY:
                return NeedsOperator(f"{words}: its file system is read-only")
            if room.bavail * room.frsize < MAX_FILE:
                return Transient(f"{words}: its disk is full", hint="make room there")
        return Transient(f"{words}: {error.reason}")

    async def _read_live(self, sftp: SFTPClient) -> str | None:
        attrs = await status_of(sftp, self._live)
        if attrs is None:
            return None
        if kind_of(attrs) != stat.S_IFLNK:
            raise NeedsOperator(
                f"{self._live} of {self.session} is no symbolic link",
                hint="move it away: certrotd makes its own",
            )
        target = str(await sftp.readlink(str(self._live)))
        folder, _, name = target.rpartition("/")
        if folder != GENERATIONS or not is_folder(name):
            raise NeedsOperator(
                f"{self._live} of {self.session} leads to {target[:200]!r}, to no delivery",
                hint="move it away: certrotd makes its own",
            )
        return name

    async def _check(self, sftp: SFTPClient) -> None:
        await self._guard(sftp, self._directory)
        await self._read_live(sftp)
        if await status_of(sftp, self._generations) is None:
            await make_directory(sftp, self._generations)
        await self._guard(sftp, self._generations)
        await self._sweep(sftp)

    async def _guard(self, sftp: SFTPClient, path: PurePosixPath, *mine: int) -> None:
        """Nobody else may put anything in the way: a link there would lead the key elsewhere.

        The directory has to be root's, or of the account that is ``mine``, where that is known.
        """
        attrs = await status_of(sftp, path)
        kind = kind_of(attrs) if attrs is not None else 0
        if kind == stat.S_IFLNK:
            raise NeedsOperator(
                f"{path} of {self.session} is a symbolic link",
                hint="use the directory itself: who may change a link leads the key elsewhere",
            )
        if attrs is None or kind != stat.S_IFDIR:
            raise NeedsOperator(f"{path} of {self.session} is no directory", hint="create it there")
        if (attrs.permissions or 0) & 0o022:
            raise NeedsOperator(
                f"others may write in {path} of {self.session}", hint=f"chmod go-w {path} there"
            )
        if mine and attrs.uid not in (0, *mine):
            raise NeedsOperator(
                f"{path} of {self.session} belongs to another account (uid {attrs.uid})",
                hint="give it to the account that certrotd logs in as, or to root",
            )

    async def _surplus(self, sftp: SFTPClient, keep: int, spare: str) -> list[str]:
        live = await self._read_live(sftp)
        names = sorted(each for each in await self._names(sftp) if is_folder(each))
        earlier = [each for each in names if each not in (live, spare)]
        return earlier[: max(0, len(earlier) - keep)]

    async def _upload(self, sftp: SFTPClient, name: str, files: Sequence[NewFile]) -> Uploaded:
        path, staging = self._generations / name, self._staging(name)
        if await status_of(sftp, path) is not None:
            if found := await self._whole(sftp, path, files):
                # as far as anybody knows: a crash may have come before the history said so
                again = [await sync_file(sftp, path / each.name) for each in files]
                return Uploaded(found, all(again))
            if await self._read_live(sftp) == name:
                raise NeedsOperator(
                    f"{path} of {self.session} is live, is not as it was delivered, and is not to "
                    "be replaced while services read it",
                    hint=f"rotate its certificate with --force, or remove {self._live} there",
                )
            await self._remove(sftp, path)
        await self._remove(sftp, staging)
        await make_directory(sftp, staging, mode=0o700)
        made = await status_of(sftp, staging)
        mine = made.uid if made and made.uid is not None else 0
        for above in (self._directory, self._generations):
            await self._guard(sftp, above, mine)
        synced = True
        for each in files:
            synced &= await write_file(sftp, staging / each.name, each)
        if not (found := await self._whole(sftp, staging, files)):
            raise Transient(f"{self.session}: what was written to {staging} is not what is there")
        await sftp.chmod(str(staging), 0o755)
        await sftp.posix_rename(str(staging), str(path))
        return Uploaded(found, synced)

    async def _whole(
        self, sftp: SFTPClient, path: PurePosixPath, files: Sequence[NewFile]
    ) -> dict[str, Stamp] | None:
        """What the files are there; None if any is not as it is to be."""
        stamps = {}
        for each in files:
            try:
                found = await stamp_of(sftp, path / each.name)
            except NeedsOperator:
                return None
            if found.sha256 != sha256(each.data) or found.mode != each.mode:
                return None
            owner, group = each.owner, each.group
            if owner not in (None, found.uid) or group not in (None, found.gid):
                return None
            stamps[each.name] = found
        return stamps

    async def _different(
        self, sftp: SFTPClient, path: PurePosixPath, wanted: Mapping[str, Stamp]
    ) -> str | None:
        for name, stamp in wanted.items():
            try:
                found = await stamp_of(sftp, path / name)
            except NeedsOperator as wrong:
                return wrong.message
            if found.sha256 != stamp.sha256:
                return f"{name} has another content"
            if found != stamp:
                return f"{name} has another mode, owner or group"
        return None

    async def _switch(self, sftp: SFTPClient, name: str) -> None:
        temporary, target = self._directory / f".{LIVE}{TEMPORARY}", f"{GENERATIONS}/{name}"
        await self._read_live(sftp)  # what is not ours is not replaced
        await absent(sftp.remove(str(temporary)))
        await sftp.symlink(target, str(temporary))
        if (made := str(await sftp.readlink(str(temporary)))) != target:
            raise NeedsOperator(f"{self.session} makes links another way round: {made[:200]!r}")
        await sftp.posix_rename(str(temporary), str(self._live))
        if (found := await self._read_live(sftp)) != name:
            raise Transient(f"{self._live} of {self.session} leads to {found}, not to {name}")

    async def _sweep(self, sftp: SFTPClient) -> None:
        await absent(sftp.remove(str(self._directory / f".{LIVE}{TEMPORARY}")))
        for name in await self._names(sftp):
            if name.endswith(TEMPORARY) and is_folder(name[1 : -len(TEMPORARY)]):
                await self._remove(sftp, self._generations / name)

    async def _names(self, sftp: SFTPClient) -> list[str]:
        return await self._listed(sftp, self._generations)

    async def _listed(self, sftp: SFTPClient, path: PurePosixPath) -> list[str]:
        names = []
        async for entry in sftp.scandir(str(path)):
            names.append(str(entry.filename))
            if len(names) > MAX_ENTRIES:
                raise NeedsOperator(f"{path} of {self.session} has more than {MAX_ENTRIES} entries")
        return [each for each in names if each not in (".", "..")]

    async def _remove(self, sftp: SFTPClient, path: PurePosixPath) -> None:
        """Remove a folder and the files in it, links never followed; it need not be there.

        What cannot be removed keeps nothing else of it: the key goes. That is raised at the end.
        """
        attrs = await status_of(sftp, path)
        if attrs is None:
            return
        if kind_of(attrs) != stat.S_IFDIR:
            await absent(sftp.remove(str(path)))
            return
        wrong: Failure | None = None
        for name in await self._listed(sftp, path):
            if not _PLAIN.fullmatch(name):
                words = f"{path} of {self.session} has {name[:100]!r} in it"
                wrong = NeedsOperator(words, hint="remove it there")
                continue
            try:
                removal = absent(sftp.remove(str(path / name)))
                await self._explained(sftp, f"remove {path / name}", removal)
            except Failure as failure:
                wrong = failure
        if wrong is not None:
            raise wrong
        removal = absent(sftp.rmdir(str(path)))
        await self._explained(sftp, f"remove {path}", removal)

    def _staging(self, name: str) -> PurePosixPath:
        return self._generations / f".{name}{TEMPORARY}"
