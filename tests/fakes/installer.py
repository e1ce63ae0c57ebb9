"""Copies at paths, in memory, whose every effect is asked of a chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES
from zlib import crc32

from certrotd.errors import Failure, failed
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import Copy
from tests.fakes.chance import CALM, Chance, Refused

Files = tuple[tuple[str, bytes], ...]


class MemoryInstaller:
    """The Installer port over two paths, one for the key and one for the chain.

    ``files`` are what applications read, ``backups`` what was there before; both outlive the
    process, as a disk does. Without ``enabled`` there is nothing to install, as with an empty list.
    """

    def __init__(self, chance: Chance = CALM, *, enabled: bool = True) -> None:
        self.chance = chance
        self.enabled = enabled
        self.files: Files = ()
        self.backups: tuple[tuple[str, Files], ...] = ()

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:
        yield from failed(self._check)

    def _check(self) -> None:
        with _told():
            self.chance.look("installer: check")

    def vacant(self) -> bool:
        with _told():
            self.chance.look("installer: look for copies")
        return not self.files

    def install(self, key: bytes, chain: bytes, backup: str) -> None:
        if not self.enabled:
            return
        if backup not in dict(self.backups):
            kept = (*self.backups, (backup, self.files))
            self._act("keep what is there", backups=kept)
        for path, data in (("key", key), ("chain", chain)):
            self._act(f"install the {path}", files=_with(self.files, path, data))

    def restore(self, backup: str) -> None:
        kept = dict(self.backups).get(backup)
        if kept is None:
            return
        for path in ("key", "chain"):
            data = dict(kept).get(path)
            self._act(f"restore the {path}", files=_with(self.files, path, data))

    def installed(self, key: bytes, chain: bytes) -> bool:
        return self.different(key, chain) is None

    def different(self, key: bytes, chain: bytes) -> str | None:
        with _told():
            self.chance.look("installer: compare")
        same = not self.enabled or dict(self.files) == {"key": key, "chain": chain}
        return None if same else "the copies are of another pair"

    def copies(self) -> dict[str, Copy]:
        with _told():
            self.chance.look("installer: look at the copies")
        return self.there()

    def there(self) -> dict[str, Copy]:
        """What stands at each path, for assertions."""
        if not self.enabled:
            return {}
        return {path: Copy(path, (crc32(data),)) for path, data in self.files}

    def forget(self, backup: str) -> None:
        rest = tuple(each for each in self.backups if each[0] != backup)
        if rest != self.backups:
            self._act("forget what was there", backups=rest)

    def sweep(self) -> None:
        if self.backups:
            self._act("sweep backups", backups=())

    def _act(
        self,
        what: str,
        *,
        files: Files | None = None,
        backups: tuple[tuple[str, Files], ...] | None = None,
    ) -> None:
        def change() -> None:
            self.files = self.files if files is None else files
            self.backups = self.backups if backups is None else backups

        with _told():
            self.chance.act(f"installer: {what}", change)


def _with(files: Files, path: str, data: bytes | None) -> Files:
    changed = {**dict(files), path: data}
    return tuple((each, kept) for each, kept in sorted(changed.items()) if kept is not None)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Refused:
        raise DiskTrouble("use the copies", OSError(EACCES, "Permission denied")) from None
