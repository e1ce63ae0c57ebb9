"""The scan for undeclared ciphertext: the databases and directories of a keyring's datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.clock import Clock, Deadline
from certrotd.config.datasets import SqlDatasetEntry
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.config.keyrings import KeyringEntry
from certrotd.errors import Failure
from certrotd.jsontext import parsed
from certrotd.keyring.evidence import Scan
from certrotd.keyring.keyring import Keyring
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:  # what only a scan needs is loaded for it
    from certrotd.datasets.residue import Scanned, Signatures
    from certrotd.datasets.sql_residue import Declared

MOST_KEPT = 100
"""So many findings are kept in the state."""


def scans_in(document: Document) -> TypedDocument[Scan]:
    """The last scan of a keyring."""
    return TypedDocument(document, _parse, _render, loss=", and looked for anew")


@dataclass(frozen=True)
class Residues:
    """Where undeclared ciphertext of one keyring is looked for.

    ``every`` are all keyrings of the configuration: what another one declares is declared.
    """

    entry: KeyringEntry
    every: Sequence[KeyringEntry]
    keyring: Callable[[], Keyring]
    kept: TypedDocument[Scan]
    clock: Clock

    def scan(self) -> Scanned:
        """Look everywhere, and keep what was found; raises Failure where there is no keyring."""
        from certrotd.datasets.configured import CODECS, codec_of, marks_of
        from certrotd.datasets.residue import Scanned, Signatures

        at, within = self.clock.now(), self.entry.residue.within.total_seconds()
        deadline, datasets = Deadline(self.clock, within), self.entry.datasets.items()
        own = {n: codec_of(each) for n, each in datasets if isinstance(each, SqlDatasetEntry)}
        marks = marks_of(each for _, each in datasets)
        signatures = Signatures(self.keyring(), {**CODECS, **own}, marks)
        found = Scanned()
        for entry in self._databases():
            try:
                found += self._database(entry, signatures, deadline)
            except Failure as failure:  # what does not answer may hold anything
                found += Scanned(unfinished=(str(failure),))
        found += self._files(signatures, deadline)
        self.kept.write(self._judged(found, at))
        return found

    def ignored(self, place: str) -> str | None:
        """Why what is in a place may stay, None if nobody said that it may."""
        declared = (e.why for e in self.entry.residue.ignore if fnmatchcase(place, e.place))
        return next(declared, None)

    def still(self, scan: Scan | None) -> Scan | None:
        """A scan that was kept, without what is to be ignored since."""
        if scan is None:
            return None
        left = (e for e in scan.undeclared if self.ignored(e.partition(": ")[0]) is None)
        return Scan(scan.at, tuple(left), scan.unfinished)

    def _judged(self, found: Scanned, at: datetime) -> Scan:
        words = tuple(f"{each.place}: {each.what}" for each in found.found)
        return Scan(at, words[:MOST_KEPT], found.unfinished[:MOST_KEPT])

    def _databases(self) -> Iterable[SqlDatasetEntry]:
        """One dataset of each database."""
        return {_place(each.url): each for each in _sql([self.entry])}.values()

    def _database(
        self, entry: SqlDatasetEntry, signatures: Signatures, deadline: Deadline
    ) -> Scanned:
        from certrotd.datasets.connecting import engine_of
        from certrotd.datasets.sql_residue import Database

        def password() -> bytes | None:
            return entry.password.resolve().reveal() if entry.password is not None else None

        name = _database(entry.url)
        with engine_of(entry.url, password, what=f"a scan of {name}") as (engine, dialect):
            import sqlalchemy as sa

            from certrotd.datasets.sql_errors import as_failures

            with as_failures(name):
                default = sa.inspect(engine).default_schema_name or ""
            declared = self._declared(entry.url, default)
            return Database(name, engine, dialect, declared).scanned(signatures, deadline)

    def _declared(self, url: str, default: str) -> Declared:
        """The columns of datasets of that database, whichever keyring they are of."""
        found: dict[tuple[str, str, str], tuple[str | None, ...]] = {}
        for entry in _sql(self.every):
            if _place(entry.url) != _place(url):
                continue
            indexes = (each.blind_index for each in entry.blind_indexes.values())
            for column in (*entry.columns, *indexes):
                key = (entry.schema_name or default, entry.table, column)
                found[key] = (*found.get(key, ()), entry.where)
        return found

    def _files(self, signatures: Signatures, deadline: Deadline) -> Scanned:
        from certrotd.datasets.file_residue import Files
        from certrotd.datasets.file_tree import FileTree

        roots: list[Path] = [*self.entry.residue.paths]
        for each in self.entry.datasets.values():
            roots += each.roots if isinstance(each, FilesDatasetEntry) else ()
        declared = [
            FileTree(each.roots, each.include, each.exclude)
            for keyring in self.every
            for each in keyring.datasets.values()
            if isinstance(each, FilesDatasetEntry)
        ]
        return Files(list(dict.fromkeys(roots)), declared).scanned(signatures, deadline)


def _sql(every: Iterable[KeyringEntry]) -> Iterable[SqlDatasetEntry]:
    return (
        each
        for keyring in every
        for each in keyring.datasets.values()
        if isinstance(each, SqlDatasetEntry)
    )


def _place(url: str) -> str:
    """Which database a URL leads to, whoever asks."""
    return url.partition("://")[2].rpartition("@")[2]


def _database(url: str) -> str:
    """The name that a database has in the places of a scan."""
    return url.partition("?")[0].rpartition("/")[2] or "database"


def _render(scan: Scan) -> bytes:
    told = {"at": scan.at.isoformat(), "undeclared": scan.undeclared, "unfinished": scan.unfinished}
    return json.dumps(told).encode()


def _parse(data: bytes) -> Scan:
    match parsed(data):
        case {"at": str() as at, "undeclared": list() as undeclared, "unfinished": list() as rest}:
            moment = datetime.fromisoformat(at)
            if moment.tzinfo is None:
                raise ValueError("its time has no zone")
            return Scan(moment, tuple(map(str, undeclared)), tuple(map(str, rest)))
    raise ValueError("not a scan")
