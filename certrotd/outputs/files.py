"""The files of an output: read without trust, and replaced together."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shlex import quote

from certrotd.errors import Failure, NeedsOperator, failed
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.displaced import (
    check_replaceable,
    new_file,
    sweep_temporary,
    write_files,
)
from certrotd.files.giving import check_owner, given_back, owner_of
from certrotd.files.ownership import user_name
from certrotd.files.reading import read_file
from certrotd.files.shared import others_replace
from certrotd.files.writing import do_each, remove_file, rename
from certrotd.outputs.port import Contents, Placed, Present
from certrotd.outputs.reading import MAX_BYTES

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class OutputFiles:
    """``owner`` and ``group`` are names or numbers; None keeps that of the file there is.

    Without a file, None is certrotd's own.
    ``in_place`` overwrites files that are bind-mounted one by one; a reader may see a part.
    """

    def __init__(
        self,
        output: Placed,
        *,
        owner: str | None = None,
        group: str | None = None,
        mode: int = 0o600,
        in_place: bool = False,
    ) -> None:
        self._output = output
        self._owner, self._group, self._mode = owner, group, mode
        self._in_place = in_place

    def present(self) -> Present:
        """What stands at the output's paths now.

        Raises NeedsOperator for a symbolic link, InvalidInput for what is no file of a few keys,
        DiskTrouble, and NotExpressible where the first file does not tell the others.
        """
        found: dict[Path, bytes | None] = {}
        while new := [path for path in self._output.paths(found) if path not in found]:
            found |= {path: _content(path) for path in new}
        return found

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:
        """Everything that would keep it from being written; unless ``dry``, by trying it."""
        yield from failed(partial(check_owner, self._owner, self._group))
        try:
            present = self.present()
        except Failure as failure:
            yield failure
            return
        yield from failed(partial(self._output.check, present))
        folders: set[Path] = set()
        owner = partial(owner_of, self._owner, self._group)
        for path, data in present.items():
            if data is not None or path.parent not in folders:
                look = partial(check_replaceable, path, mode=self._mode, owner=owner)
                yield from failed(partial(look, in_place=self._in_place, dry=dry))
            folders.add(path.parent)

    def findings(self) -> Iterator[str]:
        """Who else may read or replace the keys, and what to do about it; raises DiskTrouble."""
        present = [path for path, data in self.present().items() if data is not None]
        for path in dict.fromkeys(each.parent for each in present):
            with explained(f"look at {path}"):
                status = os.stat(path)
            if others_replace(status):
                shown = quote(str(path))
                yield f"others may replace what is in {path} (chmod go-w {shown})"
        for path in present:
            with explained(f"look at {path}"):
                status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            if mode & _OTHERS & ~self._mode:
                or_set = "" if mode & 0o007 else f', or set mode: "{mode:04o}"'
                yield (
                    f"others than its readers may use {path}: it has mode {mode:04o}, not "
                    f"{self._mode:04o} (chmod {self._mode:o} {quote(str(path))}{or_set})"
                )
            uid, gid = owner_of(self._owner, self._group)
            if uid not in (-1, status.st_uid) or gid not in (-1, status.st_gid):
                yield (
                    f"{path} belongs to {user_name(status.st_uid)}, group {status.st_gid}, and not "
                    "to whom the output names; the next rotation corrects it"
                )

    def write(self, contents: Contents, *, over: Present | None = None) -> None:
        """Replace the files together, then remove those that are to be gone.

        What is right already is left alone. Raises Failure; before the first rename nothing has
        changed.
        """
        del over  # nobody else's rename can be told from one's own
        owner = owner_of(self._owner, self._group)
        for path in contents:
            if path.is_symlink():
                raise _is_link(path)
        files = [
            new_file(path, data, mode=self._mode, owner=_kept_owner(path, owner))
            for path, data in contents.items()
            if data is not None and not self._stands(path, data, owner)
        ]
        write_files((self._in_place, each) for each in files)
        do_each(partial(remove_file, path) for path, data in contents.items() if data is None)

    def set_aside(self, mark: str) -> list[Path]:
        """Rename what stands there to ``NAME.MARK``, and where that is now; raises DiskTrouble."""
        kept = []
        for path in [path for path, data in self.present().items() if data is not None]:
            aside = path.with_name(f"{path.name}.{mark}")
            rename(path, aside)
            kept.append(aside)
        return kept

    def sweep(self) -> None:
        """Remove what a crash left beside the files; raises DiskTrouble."""
        try:
            paths = list(self.present())
        except Failure:  # what cannot be read is a problem of its own
            paths = list(self._output.paths({}))
        do_each(partial(sweep_temporary, path) for path in paths)

    def _stands(self, path: Path, data: bytes, owner: tuple[int, int]) -> bool:
        if _content(path) != data:
            return False
        with explained(f"look at {path}"):
            there = os.lstat(path)
        wanted = zip(owner, (there.st_uid, there.st_gid), strict=True)
        same = all(want in (-1, have) for want, have in wanted)
        return same and stat.S_IMODE(there.st_mode) == self._mode


def _kept_owner(path: Path, owner: tuple[int, int]) -> tuple[int, int]:
    """``owner``, where -1 is what the file at ``path`` has: its application goes on reading it."""
    with explained(f"look at {path}"):
        try:
            there = os.lstat(path)
        except FileNotFoundError:
            return owner
    uid, gid = (
        have if want == -1 else want
        for want, have in zip(owner, (there.st_uid, there.st_gid), strict=True)
    )
    # a group that certrotd is not in stays only where it matters; problems() tells of that
    return given_back(stat.S_IMODE(there.st_mode), uid, gid) if -1 in owner else owner


def _content(path: Path) -> bytes | None:
    try:
        return read_file(path, limit=MAX_BYTES, follow=False)
    except FileNotFoundError:
        return None
    except DiskTrouble as trouble:
        if trouble.errno == errno.ELOOP:
            raise _is_link(path) from trouble
        raise


def _is_link(path: Path) -> NeedsOperator:
    return NeedsOperator(
        f"{path} is a symbolic link, which is not followed", hint="name its target as the path"
    )
