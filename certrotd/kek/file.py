"""A KEK in a file of its own, mode 0600, which certrotd makes: the embedded default."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from certrotd.errors import InvalidInput
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_status
from certrotd.files.writing import create_file, make_directory
from certrotd.kek import sealing, volume
from certrotd.kek.port import Context, KekUnavailable, Unfit

_TRIES = 3
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class FileKek:
    """32 random bytes at ``path``; they are read for each use, and kept nowhere else.

    The path may be an entry of a mounted Secret, which is a link that the kubelet has made.
    """

    path: Path

    def wrap(self, key: bytes, context: Context) -> bytes:
        """As Kek.wrap."""
        return sealing.wrap(self._read(), key, context)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.unwrap."""
        return sealing.unwrap(self._read(), wrapped, context, str(self.path))

    def rewrap(self, wrapped: bytes, context: Context) -> bytes:
        """As Kek.rewrap: with a fresh nonce, for a file has one version."""
        return self.wrap(self.unwrap(wrapped, context), context)

    def _read(self) -> bytes:
        if volume.entry(self.path) is not None:
            return self._in_volume()
        kek, status = read(self.path)
        if status.st_mode & _OTHERS:
            raise Unfit(
                f"the KEK {self.path} can be read or written by others than its owner",
                hint=f"chmod 0600 {self.path}, and rotate it if anybody may have read it",
            )
        if status.st_uid not in (0, os.geteuid()):
            raise Unfit(
                f"the KEK {self.path} belongs to user {status.st_uid}",
                hint="it must be root's, or of the user certrotd runs as",
            )
        return kek

    def _in_volume(self) -> bytes:
        """Of a Secret that is mounted: the kubelet, which is root, lets its pod's group read it."""
        for _ in range(_TRIES):
            there = volume.entry(self.path)
            try:
                kek, status = read(there or self.path)
            except KekUnavailable:
                if there == volume.entry(self.path):
                    raise
                continue  # the kubelet has put another version in its place just now
            if status.st_uid or (why := volume.exposed(status)):
                why = f"belongs to user {status.st_uid}" if status.st_uid else why
                raise Unfit(f"the KEK {self.path} {why}", hint=volume.HINT)
            return kek
        raise KekUnavailable(f"the KEK {self.path} changes all the time")


def make(path: Path) -> FileKek:
    """A new KEK at ``path``, durable when this returns; raises Unfit over anything there.

    DiskTrouble if it cannot be written.
    """
    make_directory(path.parent, mode=0o700)
    try:
        create_file(path, os.urandom(sealing.SIZE), mode=0o600)
    except DiskTrouble as error:
        if error.errno != errno.EEXIST:
            raise
        raise Unfit(
            f"there is something at {path} already", hint="a KEK is never made over another"
        ) from None
    return FileKek(path)


def read(path: Path) -> tuple[bytes, os.stat_result]:
    """The bytes of a KEK, and the status of its file; raises KekUnavailable or Unfit."""
    try:
        kek, status = read_status(path, limit=sealing.SIZE, follow=False)
    except FileNotFoundError:
        raise KekUnavailable(
            f"the KEK {path} is not there",
            hint="mount or restore it: a new one could not unwrap what this one has wrapped",
        ) from None
    except InvalidInput as error:
        raise Unfit(error.message, hint=f"a KEK is a file of {sealing.SIZE} bytes") from None
    except DiskTrouble as error:
        if error.errno == errno.ELOOP:
            raise Unfit(f"the KEK {path} is a symbolic link", hint="name the file itself") from None
        raise KekUnavailable(error.message, hint=error.hint) from None
    if len(kek) != sealing.SIZE:
        raise Unfit(
            f"the KEK {path} has {len(kek)} bytes instead of {sealing.SIZE}",
            hint="restore it from a backup",
        )
    return kek, status
