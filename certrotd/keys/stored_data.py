"""The datasets of a keyring that certrotd itself reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from certrotd.clock import Clock
from certrotd.config.connect import Connect
from certrotd.config.datasets import CommandDatasetEntry, DatasetEntry, SqlDatasetEntry
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.errors import Failure, NeedsOperator, failed
from certrotd.keyring.keyring import Keyring
from certrotd.keys.census import Census, count_of, still_of
from certrotd.keys.keyring_store import KeyringStore, NoKeyring
from certrotd.keys.reencrypting import Reencryptable
from certrotd.state.ports import Document
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:  # what only datasets need is loaded for them
    from certrotd.datasets.census import Tally
    from certrotd.datasets.configured import Opened
    from certrotd.datasets.exposure import Exposure


@dataclass(frozen=True)
class StoredData:
    """Those of one keyring; ``census`` keeps the last counts.

    ``rewritings`` is where it is kept what is known of the objects of a dataset in a cluster.
    """

    entries: Mapping[str, DatasetEntry]
    store: KeyringStore
    census: TypedDocument[Census]
    connect: Connect
    rewritings: Callable[[str], Document]
    clock: Clock

    def open(self, name: str) -> AbstractContextManager[Opened]:
        """One dataset, while it is used."""
        from certrotd.datasets.configured import Clusters, opened

        entry = self.entries[name]
        assert not isinstance(entry, CommandDatasetEntry), "it is one that certrotd reads"
        clusters = Clusters(self.connect, self.rewritings, self.clock)
        return opened(name, entry, self.exposure, clusters)

    def exposure(self) -> Exposure:
        """Which of its keys others may know; raises Failure."""
        from certrotd.datasets.exposure import Exposure

        found = self.store.inspect()
        if found is None:
            return Exposure()
        ids = {each.id or str(number): number for number, each in found.entries.items()}
        bad = frozenset(each.number for each in found.versions.all if each.compromised)
        return Exposure(ids, bad)

    def keyring(self) -> Keyring:
        """The keys that its values may be under; raises NeedsOperator if there are none yet."""
        found = self.store.read()
        if found is None or found.keyring.versions.active is None:
            raise NoKeyring(self.store.name)
        return found.keyring

    def tally(self, name: str) -> Tally:
        """The census of one, for every key that there is; raises Failure."""
        keyring = self.keyring()
        with self.open(name) as opened:
            return opened.tally(keyring.every_key())

    def unopenable(self) -> Iterator[Failure]:
        """The datasets whose libraries or programs are not installed; no database is asked."""
        from certrotd.datasets.configured import check_libraries, check_program

        for name, entry in self.entries.items():
            if isinstance(entry, SqlDatasetEntry | FilesDatasetEntry):
                yield from failed(partial(check_libraries, name, entry))
            if isinstance(entry, FilesDatasetEntry):
                yield from failed(partial(check_program, name, entry))

    def unsearchable(self) -> Iterator[Failure]:
        """The datasets in which rows would not be found while two keys live."""
        for name, entry in self.entries.items():
            if isinstance(entry, SqlDatasetEntry) and entry.search_two_keys is False:
                from certrotd.datasets.search import one_key_only

                yield NeedsOperator(f"{name}: {one_key_only(entry.searched)}")

    def unreadable(self) -> Iterator[Failure]:
        """The datasets with values that name no key, where one without a name is the staged one's.

        Every value is looked at.
        """
        for name in self.reencryptable():
            yield from failed(partial(self._check_named, name))

    def _check_named(self, name: str) -> None:
        from certrotd.datasets.census import unnamed

        with self.open(name) as opened:
            count = unnamed(opened.dataset, opened.form)
        if count:
            raise NeedsOperator(
                f"{count:,} values of {name} name no key: the application would try the new one on "
                "them, and nothing else",
                hint="have the application write them anew with a key id, or cut over: cutover",
            )

    def reencryptable(self) -> Mapping[str, Reencryptable]:
        """Each by its name; none is opened."""
        return {
            name: Reencryptable(partial(self.open, name), partial(self._counted, name))
            for name, entry in self.entries.items()
            if not isinstance(entry, CommandDatasetEntry)
        }

    def _counted(self, name: str, tally: Tally, at: datetime) -> None:
        """Keep a census of one dataset, so that decisions go by it."""
        found, known = self.store.inspect(), self.census.read() or Census()
        counts = dict(still_of(known.counts, found.versions)) if found else {}
        for number, named in counts.items():
            count = count_of(tally, number, at).after(named.get(name))
            counts[number] = {**named, name: count}
        failed = {each: why for each, why in known.failed.items() if each != name}
        self.census.write(Census(counts, failed))
