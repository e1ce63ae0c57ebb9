"""Files below directories as a dataset: encrypted ones, of any size, or small ones of a codec.

Each file is a row, whose key is its root and its path there. What is read of it is its header, or
all of it where a codec wrote it. A file is replaced only if nobody wrote it meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO

from certrotd.codecs.errors import CodecError
from certrotd.codecs.stream_header import HEADER, SLOT
from certrotd.datasets.file_tree import FileTree, Found
from certrotd.datasets.file_values import Refill
from certrotd.datasets.port import BeginningCounts, Change, Key, PreflightFinding, Row
from certrotd.datasets.streamed import Rewrap
from certrotd.files.disktrouble import explained
from certrotd.files.rewriting import NotKept, Signature, is_as_read, opened_in, rewrite, sweep
from certrotd.files.writing import write_all

WHOLE = 16 * 1024 * 1024
"""The most that a file may be, in bytes, which is read whole."""
_BUDGET = 64 * 1024 * 1024
"""A batch ends with the file that makes it larger."""
_OF_ONE = {errno.EACCES, errno.EPERM, errno.ETXTBSY}
"""What is about one file and not about the disk: the others go on."""
_GONE = {errno.ENOENT, errno.ELOOP}
"""The file is not there any more, or a link took its place."""
_READ = os.O_RDONLY


class FilesDataset:
    """Dataset and Sweeping, of the files of a tree.

    ``streamed``: a value is the header, and not the whole file.
    """

    def __init__(self, name: str, tree: FileTree, *, streamed: bool) -> None:
        self._name = name
        self._tree = tree
        self._streamed = streamed
        self._walk: tuple[Key | None, Iterator[Found]] = None, iter(())
        self._troubles: dict[Key, str] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def fields(self) -> Sequence[str]:
        return ()

    def counts(self, beginnings: Sequence[bytes]) -> BeginningCounts:
        """As Dataset.counts."""
        filled, counts = 0, [0] * len(beginnings)
        for found in self._tree.walk():
            if (begins := self._begins(found, beginnings)) is not None:
                filled += 1
                for number, each in enumerate(beginnings):
                    counts[number] += begins.startswith(each)
        return BeginningCounts(filled, tuple(counts))

    def remaining(self, done: Sequence[bytes]) -> int:
        """As Dataset.remaining."""
        begun = (self._begins(found, done) for found in self._tree.walk())
        return sum(each is not None and not _is_done(each, done) for each in begun)

    def rows(self, after: Key | None, most: int, done: Sequence[bytes]) -> Sequence[Row]:
        """As Dataset.rows; fewer where they are large, so that memory stays bounded."""
        self._troubles.clear()
        last, walk = self._walk
        if after is None or after != last:
            walk = self._tree.walk(after)
        self._walk = None, iter(())  # unless this one comes to its end
        rows: list[Row] = []
        size = 0
        for found in walk:
            if (row := self._row(found, done)) is None:
                continue
            rows.append(row)
            size += row.read.size
            if len(rows) == most or size > _BUDGET:
                break
        self._walk = (rows[-1].key, walk) if rows else (None, iter(()))
        return rows

    def again(self, keys: Sequence[Key]) -> Sequence[Row]:
        """As Dataset.again; of those that could not be written, why."""
        rows = []
        for key in keys:
            with self._tree.found(key) as found:
                row = self._row(found, ()) if found is not None else None
            if row is not None:
                rows.append(row._replace(trouble=self._troubles.get(key) or row.trouble))
        return rows

    def replace(self, changes: Sequence[Change]) -> int:
        """As Dataset.replace, but each file by itself: no file system has more."""
        done = 0
        for change in changes:
            key = change.row.key
            with self._tree.found(key) as found, explained(f"write {_words(key)}"):
                if found is None:
                    continue
                try:
                    done += _write(found, change)
                except (NotKept, CodecError) as failure:
                    self._troubles[key] = failure.message
                except OSError as error:
                    if error.errno not in _GONE:
                        self._troubles[key] = _trouble(error, "written")
        return done

    def findings(self) -> Sequence[PreflightFinding]:
        """As Dataset.findings."""
        return [found for root in self._tree.roots for found in _findings(str(root))]

    def sweep(self) -> None:
        """As Sweeping.sweep."""
        for found in self._tree.temporaries():
            with explained(f"remove {_words(found.key)}"), suppress(PermissionError):
                sweep(found.folder, found.name)  # of another user it is none of certrotd's

    def close(self) -> None:
        """Let go of the directories that a walk is in."""
        self._walk = None, iter(())

    def _begins(self, found: Found, beginnings: Sequence[bytes]) -> bytes | None:
        """What a file begins with, as far as it matters; None for an empty one, or none at all."""
        length = max(map(len, beginnings), default=0)
        with explained(f"read {_words(found.key)}"), suppress(FileNotFoundError):
            status = os.stat(found.name, dir_fd=found.folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return None
            if not length:
                return b""
            with suppress(PermissionError), opened_in(found.folder, found.name, _READ) as handle:
                return os.read(handle, length)
            return b""
        return None

    def _row(self, found: Found, done: Sequence[bytes]) -> Row | None:
        """One file; None if it is gone, empty, or done."""
        with explained(f"read {_words(found.key)}"):
            try:
                with opened_in(found.folder, found.name, _READ) as handle:
                    status = os.fstat(handle)
                    if not stat.S_ISREG(status.st_mode) or not status.st_size:
                        return None
                    read = Signature.of(status)
                    if done and _is_done(os.pread(handle, max(map(len, done)), 0), done):
                        return None
                    if self._streamed:
                        return Row(found.key, (os.pread(handle, HEADER, 0),), read)
                    if status.st_size > WHOLE:
                        trouble = f"it is larger than {WHOLE:,} bytes, which are read whole"
                        return Row(found.key, (), read._replace(size=0), trouble)
                    with FileIO(handle, closefd=False) as file:
                        return Row(found.key, (file.readall(),), read)
            except OSError as error:
                if error.errno in _GONE:
                    return None
                nothing = Signature(0, 0, 0, 0, 0)
                return Row(found.key, (), nothing, _trouble(error, "read"))


def _is_done(begins: bytes, done: Sequence[bytes]) -> bool:
    return begins.startswith(tuple(done))


def _words(key: Key) -> str:
    return "/".join(map(str, key))


def _trouble(error: OSError, act: str) -> str:
    """Why a file cannot be dealt with; what is no matter of the file itself is raised."""
    if error.errno not in _OF_ONE:
        raise error
    return f"it cannot be {act}: {error.strerror}"


def _findings(root: str) -> Iterator[PreflightFinding]:
    """What is wrong with a root itself."""
    if os.path.islink(root):
        words = f"{root} is a symbolic link: name what it points to"
        yield PreflightFinding("link", words, fatal=True)
    elif os.path.exists(root) and not os.path.isdir(root):
        yield PreflightFinding("kind", f"{root} is no directory", fatal=True)
    elif os.path.exists(root) and os.statvfs(root).f_flag & os.ST_RDONLY:
        yield PreflightFinding("read_only", f"{root} is mounted read-only", fatal=True)


def _write(found: Found, change: Change) -> bool:
    """Whether the file was as it was read, and is now as it is to be."""
    read, how = change.row.read, change.by
    [data] = change.values
    assert data is not None, "a file has one value"
    if isinstance(how, Rewrap):
        return _rewrap(found, change, data, how.first)
    if isinstance(how, Refill):
        return rewrite(found.folder, found.name, read, how.fill)
    return rewrite(found.folder, found.name, read, lambda _old, new: write_all(new, data))


def _rewrap(found: Found, change: Change, after: bytes, first: int) -> bool:
    """Replace the header slot by slot; a reader finds one that opens at each instant.

    The slot that was in use is emptied only if the file is the same one still: else somebody has
    written another into it meanwhile, of which that slot may be the only one.
    """
    read: Signature = change.row.read
    [before] = change.row.values
    assert before is not None, "it has a header"
    with opened_in(found.folder, found.name, os.O_RDWR) as handle:
        status = os.fstat(handle)
        if Signature.of(status) != read:
            return False
        times = status.st_atime_ns, status.st_mtime_ns
        os.utime(handle, ns=times)  # who may not keep them does not begin
        expected = before
        for number in (first, 1 - first):
            at = number * SLOT
            slot = after[at : at + SLOT]
            if os.pread(handle, HEADER, 0) != expected or os.fstat(handle).st_size != read.size:
                return False
            if slot == expected[at : at + SLOT]:
                continue
            os.pwrite(handle, slot, at)
            os.utime(handle, ns=times)
            os.fsync(handle)
            expected = expected[:at] + slot + expected[at + SLOT :]
        written = Signature.of(os.fstat(handle))
    return is_as_read(found.folder, found.name, written)
