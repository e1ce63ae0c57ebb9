"""Files on another host over SFTP: written private from the first byte, read with their status."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from certrotd.errors import NeedsOperator

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs, SFTPClient, SFTPClientFile

MAX_FILE = 1024 * 1024


@dataclass(frozen=True)
class NewFile:
    """A file to deliver; of the ``owner`` and ``group`` (numbers), None is the account's own."""

    name: str
    data: bytes = field(repr=False)
    mode: int
    owner: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file is: the SHA-256 of its content in hex, its permission bits, owner and group."""

    sha256: str
    mode: int
    uid: int
    gid: int


async def write_file(sftp: SFTPClient, path: PurePosixPath, file: NewFile) -> bool:
    """Write a new file, private from its first byte; whether it was synced."""
    import asyncssh

    private = asyncssh.SFTPAttrs(permissions=0o600)
    async with sftp.open(str(path), "xb", attrs=private) as handle:
        await handle.chmod(0o600)
        await handle.write(file.data)
        if file.owner is not None or file.group is not None:
            made = await handle.stat()
            uid = made.uid if file.owner is None else file.owner
            gid = made.gid if file.group is None else file.group
            await handle.setstat(asyncssh.SFTPAttrs(uid=uid, gid=gid))
        await handle.chmod(file.mode)
        return await _synced(handle)


async def sync_file(sftp: SFTPClient, path: PurePosixPath) -> bool:
    """Have a file that is there synced; whether it was: not every server can."""
    async with sftp.open(str(path), "rb") as handle:
        return await _synced(handle)


async def stamp_of(sftp: SFTPClient, path: PurePosixPath) -> Stamp:
    """What a regular file is; raises as read_file()."""
    data, attrs = await read_file(sftp, path)
    mode = stat.S_IMODE(attrs.permissions or 0)
    return Stamp(sha256(data), mode, attrs.uid or 0, attrs.gid or 0)


async def read_file(sftp: SFTPClient, path: PurePosixPath) -> tuple[bytes, SFTPAttrs]:
    """A regular file and its status; NeedsOperator for anything else, or one that is too large."""
    attrs = await status_of(sftp, path)
    if attrs is None:
        raise NeedsOperator(f"{path.name} is gone")
    if kind_of(attrs) != stat.S_IFREG:
        raise NeedsOperator(f"{path.name} is not a regular file")
    async with sftp.open(str(path), "rb") as handle:
        data, at = bytearray(), 0
        while part := cast("bytes", await handle.read(64 * 1024, at)):
            data += part
            at += len(part)
            if at > MAX_FILE:
                raise NeedsOperator(f"{path.name} is larger than {MAX_FILE >> 20} MiB")
    return bytes(data), attrs


async def _synced(handle: SFTPClientFile) -> bool:
    import asyncssh

    try:
        await handle.fsync()
    except asyncssh.SFTPOpUnsupported:
        return False
    return True


async def status_of(sftp: SFTPClient, path: PurePosixPath) -> SFTPAttrs | None:
    import asyncssh

    try:
        return await sftp.lstat(str(path))
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return None


async def make_directory(sftp: SFTPClient, path: PurePosixPath, *, mode: int = 0o755) -> None:
    """Make a directory, whatever the umask there."""
    import asyncssh

    await sftp.mkdir(str(path), asyncssh.SFTPAttrs(permissions=0o700))
    if mode != 0o700:
        await sftp.chmod(str(path), mode)


async def absent(removal: Awaitable[None]) -> None:
    import asyncssh

    with suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        await removal


def kind_of(attrs: SFTPAttrs) -> int:
    return stat.S_IFMT(attrs.permissions or 0)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
