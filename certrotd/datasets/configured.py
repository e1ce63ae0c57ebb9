"""The datasets of a configuration: opened, with how their values are encrypted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from certrotd.codecs import ansible_vault, symmetric_header
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.laravel import Laravel
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.port import Codec
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.codecs.tink import Tink
from certrotd.config.codecs import JweCodecEntry, LayoutCodecEntry, RailsCodecEntry, Wso2CodecEntry
from certrotd.config.datasets import DatasetEntry, OwnDatasetEntry, SqlDatasetEntry
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.datasets.blind_indexes import IndexField
from certrotd.datasets.census import Tally, tally
from certrotd.datasets.documents import JsonDocument
from certrotd.datasets.exposure import Exposure
from certrotd.datasets.keys import AssociatedData
from certrotd.datasets.port import Dataset, PreflightFinding
from certrotd.datasets.reencryption import Pace
from certrotd.datasets.search import NOT_SEARCHED, Searched
from certrotd.datasets.values import Form, Leftover
from certrotd.errors import NeedsOperator
from certrotd.jsonpath import path_of
from certrotd.keyring.material import KeySet, Material

CODECS: dict[str, Codec] = {
    "tink": Tink(),
    "fernet": FernetTokens(),
    "laravel": Laravel(),
    "node-json": NodeJson(),
    "secretbox": PrefixedSecretbox(),
}
"""The codecs without options, by their names. Each that a dataset may have authenticates."""


MARKS = {"symmetric-encryption": symmetric_header.MAGIC, "ansible-vault": ansible_vault.MARK}
"""How files begin, or values in them, of forms that only files have."""


@dataclass(frozen=True)
class Opened:
    """A dataset that can be read and written, and what the configuration says of it."""

    dataset: Dataset
    form: Form
    pace: Pace
    may_be_empty: bool
    searched: Searched = NOT_SEARCHED

    def findings(self, *, staged: bool) -> Sequence[PreflightFinding]:
        """What is seen before anything is written; ``staged``: while the application runs."""
        return [*self.searched.findings(staged=staged), *self.dataset.findings()]

    def tally(self, keys: KeySet) -> Tally:
        """The census of it; raises NeedsOperator where nothing at all is there to be counted."""
        counted = tally(self.dataset, self.form, keys)
        if not counted.total and not self.may_be_empty:
            raise NeedsOperator(
                f"the dataset {self.dataset.name} holds no value at all",
                hint="a wrong place or condition? If it may be empty: may_be_empty: true",
            )
        return counted

    def left(self, tally: Tally, active: int) -> int:
        """How many values a re-encryption has still to do, those that do not open among them."""
        old = sum(count for version, count in tally.by_version.items() if version != active)
        plain = tally.plaintext if self.form.plaintext is Leftover.ENCRYPT else 0
        return old + plain + self.indexes_left(tally, active) + tally.unopened

    def indexes_left(self, tally: Tally, active: int) -> int:
        """How many blind indexes are among those."""
        return sum(count for version, count in tally.indexes.items() if version != active)


@contextmanager
def opened(
    name: str, entry: OwnDatasetEntry, exposure: Callable[[], Exposure] = Exposure
) -> Iterator[Opened]:
    """The dataset of an entry, while it is used; raises Failure, and so do all of its methods.

    ``exposure`` tells which keys others may know.
    """
    if isinstance(entry, FilesDatasetEntry):
        yield from _opened_files(name, entry, exposure)
        return
    from certrotd.datasets.connecting import engine_of

    def password() -> bytes | None:
        return entry.password.resolve().reveal() if entry.password is not None else None

    with engine_of(entry.url, password, what=f"the dataset {name}") as (engine, dialect):
        from certrotd.datasets.sql import SqlDataset, TableSpec

        form = _form(entry)
        spec = TableSpec(
            entry.table,
            entry.key,
            entry.columns,
            entry.schema_name,
            entry.where,
            entry.keep,
            form.codec.traits.text,
            {each.blind_index: each.encoding != "raw" for each in entry.blind_indexes.values()},
        )
        dataset = SqlDataset(name, engine, spec, dialect)
        latency = entry.latency_ms / 1000 if entry.latency_ms is not None else None
        pace = Pace(entry.batch, entry.rows_per_second, entry.pause_ms / 1000, latency)
        searched = Searched(entry.searched, two_keys=entry.search_two_keys is not False)
        yield Opened(dataset, form, pace, entry.may_be_empty, searched)


def codec_of(entry: SqlDatasetEntry) -> Codec:
    """The codec of its values; raises NeedsOperator for a salt that cannot be read."""
    match entry.codec:
        case RailsCodecEntry() as told:
            from certrotd.codecs.rails import ActiveRecord

            return ActiveRecord(
                told.salt.resolve().reveal(),
                told.deterministic,
                told.digest,
                told.key_references,
                told.compress,
            )
        case JweCodecEntry() as told:
            from certrotd.codecs.jwe import Jwe

            return Jwe(told.alg != "dir", told.enc or "A256GCM")
        case Wso2CodecEntry() as told:
            from certrotd.codecs.wso2 import Wso2

            return Wso2(key_ids=told.key_ids)
        case LayoutCodecEntry() as told:
            return told.codec(bound=entry.associated_data is not None)
        case str(name):
            return CODECS[name]


def marks_of(entries: Iterable[DatasetEntry]) -> Mapping[str, bytes]:
    """How files begin, or values in them, of the forms that only some datasets have."""
    there = {each.codec for each in entries if isinstance(each, FilesDatasetEntry)}
    return {name: MARKS[name] for name in MARKS if name in there}


def _opened_files(
    name: str, entry: FilesDatasetEntry, exposure: Callable[[], Exposure]
) -> Iterator[Opened]:
    from certrotd.datasets.file_tree import FileTree
    from certrotd.datasets.files import FilesDataset

    tree = FileTree(entry.roots, entry.include, entry.exclude, entry.may_be_empty)
    form = _form_of_files(entry, exposure)
    with closing(FilesDataset(name, tree, streamed=entry.is_streamed)) as dataset:
        pace = Pace(rows_per_second=entry.files_per_second)
        yield Opened(dataset, form, pace, entry.may_be_empty)


def _form_of_files(entry: FilesDatasetEntry, exposure: Callable[[], Exposure]) -> Form:
    plaintext = Leftover(entry.plaintext)
    match entry.codec:
        case "stream":
            from certrotd.datasets.streamed import Slots, StreamForm

            replaces = entry.content_keys == "replace"
            return StreamForm(Slots(), plaintext=plaintext, exposure=exposure(), replaces=replaces)
        case "symmetric-encryption":
            from certrotd.datasets.symmetric_files import HEADERS, SymmetricForm

            return SymmetricForm(HEADERS, plaintext=plaintext, text=entry.content == "utf8")
        case "ansible-vault":
            from certrotd.datasets.vault_documents import VaultDocument

            codec = ansible_vault.AnsibleVault(key_ids=entry.vault_ids == "key")
            return Form(codec, documents={0: VaultDocument()})
        case "tink" | "fernet" as named:
            return Form(
                CODECS[named], lambda key, _: os.fsencode(entry.bound(str(key[1]))), plaintext
            )


def _form(entry: SqlDatasetEntry) -> Form:
    codec, plaintext = codec_of(entry), Leftover(entry.plaintext)
    documents = {
        entry.columns.index(column): JsonDocument(tuple(map(path_of, paths)))
        for column, paths in entry.json_paths.items()
    }
    indexes = {
        at: IndexField(
            entry.columns.index(column),
            each.index(),
            tuple(map(Material, each.own_keys())),
            each.fill,
        )
        for at, ((column, _), each) in enumerate(entry.blind_indexes.items(), len(entry.columns))
    }
    if entry.associated_data is None:
        return Form(codec, plaintext=plaintext, documents=documents, indexes=indexes)
    bound = AssociatedData(entry.associated_data, entry.table, entry.columns, entry.key)
    return Form(codec, bound.of, plaintext, documents, indexes)
