"""Copies of some of a dataset, made to be re-encrypted in a rehearsal, and gone at its end.

Of a table the first and the last rows are copied into a temporary table of its database, of a file
tree any files into a directory. What is live is only read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from certrotd.codecs import stream
from certrotd.codecs.errors import CodecError
from certrotd.codecs.stream_header import HEADER, read_header
from certrotd.config.datasets import OwnDatasetEntry
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.configured import Opened, opened
from certrotd.datasets.exposure import Exposure
from certrotd.datasets.file_tree import FileTree, Found
from certrotd.datasets.port import Key, Row
from certrotd.datasets.row_values import Quarantined, SeenIndex
from certrotd.datasets.streamed import StreamForm
from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import explained
from certrotd.files.rewriting import opened_in
from certrotd.files.writing import make_directory, write_all
from certrotd.keyring.material import KeySet, Material

BATCH = 1000
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each dataset is copied: so many ``rows``, or files, and so many bytes."""

    rows: int
    size: int


Draw = Callable[[int], int]
"""A random number below another."""


@dataclass(frozen=True)
class Copy:
    """``rows`` of the ``of`` rows, or files, of a dataset, ``size`` bytes; open() gives the copies.

    It can be opened several times, with the keys that others may know by then.
    """

    rows: int
    of: int
    size: int
    open: Callable[[Callable[[], Exposure]], AbstractContextManager[Opened]] = field(repr=False)


@contextmanager
def copied(
    name: str, entry: OwnDatasetEntry, limits: Limits, directory: Path, draw: Draw
) -> Iterator[Copy]:
    """The copies, while they are there; ``directory`` is empty. Raises Failure, as a dataset."""
    with opened(name, entry) as live:
        for finding in live.dataset.findings():
            if finding.fatal:
                raise NeedsOperator(f"{name} cannot be re-encrypted: {finding.words}")
        if isinstance(entry, FilesDatasetEntry):
            yield _files(name, entry, limits, directory, draw)
            return
        with _table(live, limits) as copy:
            yield copy


@contextmanager
def _table(live: Opened, limits: Limits) -> Iterator[Copy]:
    from certrotd.datasets.sql import SqlDataset
    from certrotd.datasets.sql_scratch import ScratchTable

    dataset = live.dataset
    assert isinstance(dataset, SqlDataset), "it is a table"
    with dataset.engine.connect() as connection:
        whole = connection.begin() if connection.dialect.name == "postgresql" else None
        try:
            scratch = ScratchTable(dataset, connection)
            rows, size = scratch.fill(dataset.ends(limits.rows), limits.size)
            made = replace(live, dataset=scratch, may_be_empty=live.may_be_empty or not rows)
            yield Copy(rows, dataset.remaining(()), size, lambda _exposure: nullcontext(made))
        finally:
            if whole is not None:
                whole.rollback()


def _files(
    name: str, entry: FilesDatasetEntry, limits: Limits, directory: Path, draw: Draw
) -> Copy:
    """Files drawn from all that there are, below a directory for each root."""
    tree = FileTree(entry.roots, entry.include, entry.exclude, entry.may_be_empty)
    places = {str(root): directory / str(n) for n, root in enumerate(entry.roots)}
    for place in places.values():
        make_directory(place, mode=0o700)
    chosen, of = _drawn(tree, limits.rows, draw)
    rows = size = 0
    for key in chosen:
        target = places[str(key[0])] / str(key[1])
        with tree.found(key) as found:
            copied_bytes = _copy(found, target, limits.size - size) if found is not None else 0
        rows, size = rows + bool(copied_bytes), size + copied_bytes
    there = entry.model_copy(update={"roots": tuple(places.values()), "may_be_empty": True})
    return Copy(rows, of, size, lambda exposure: opened(name, there, exposure))


def _drawn(tree: FileTree, most: int, draw: Draw) -> tuple[list[Key], int]:
    """Some of the files, each as likely as any other, and how many there are."""
    chosen: list[Key] = []
    of = 0
    for of, found in enumerate(tree.walk(), start=1):
        if len(chosen) < most:
            chosen.append(found.key)
        elif (place := draw(of)) < most:
            chosen[place] = found.key
    return sorted(chosen), of


def _copy(found: Found, target: Path, room: int) -> int:
    """Copy a file if it has room; how many bytes, 0 if not, or if it is empty or gone."""
    with explained(f"copy {target.name}"):
        try:
            with opened_in(found.folder, found.name, os.O_RDONLY) as source:
                size = os.fstat(source).st_size
                if not 0 < size <= room:
                    return 0
                make_directory(target.parent, mode=0o700)
                made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    while piece := os.read(source, _PIECE):
                        write_all(made, piece)
                finally:
                    os.close(made)
                return size
        except FileNotFoundError:
            return 0


class Held(NamedTuple):
    """What one value holds: its plaintext by a hash, and the key of its own, where it has one."""

    digest: bytes
    version: int | None
    content: Material | None = None


@dataclass(frozen=True)
class Contents:
    """What every value holds, by its row and place there, and those that do not open, in words."""

    held: Mapping[tuple[Key, int], Held]
    unopened: Mapping[tuple[Key, int], str]


def rows_of(opened_copy: Opened) -> list[Row]:
    """Every row; there are few, for it is a copy."""
    rows: list[Row] = []
    after: Key | None = None
    while some := opened_copy.dataset.rows(after, BATCH, ()):
        rows += some
        after = some[-1].key
    return rows


def contents(of: Opened, rows: list[Row], keys: KeySet) -> Contents:
    """What the rows hold for who has these keys alone; of files all of it is read."""
    values = of.form.values(keys)
    held: dict[tuple[Key, int], Held] = {}
    unopened: dict[tuple[Key, int], str] = {}
    for row in rows:
        looked = (each for each in values.looked_at(row) if not isinstance(each, SeenIndex))
        for number, seen in enumerate(looked):
            if isinstance(seen, Quarantined):
                unopened[row.key, number] = seen.why
            elif isinstance(of.form, StreamForm) and seen.version is not None:
                try:
                    held[row.key, number] = _file_held(row.key, keys)
                except CodecError as error:
                    unopened[row.key, number] = error.message
            else:
                held[row.key, number] = Held(_digest(seen.plaintext), seen.version)
    return Contents(held, unopened)


def _file_held(key: Key, keys: KeySet) -> Held:
    """The content of a file that was copied; raises CodecError."""
    digest = hashlib.sha256()
    path = Path(str(key[0])) / str(key[1])
    with explained(f"read {path}"), closing(FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC))) as f:
        header = read_header(f.read(HEADER), keys)
        stream.decrypt(header, f.readinto, digest.update)
    version = max(each for each in header.opened if each is not None)
    return Held(digest.digest(), version, header.content)


def _digest(plaintext: bytes) -> bytes:
    return hashlib.sha256(plaintext).digest()
