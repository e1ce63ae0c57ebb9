"""The datasets of a configuration: opened, with how their values are encrypted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from certrotd.clock import Clock, SystemClock
from certrotd.codecs import ansible_vault, symmetric_header
from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.laravel import Laravel
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.patterns import WholePattern
from certrotd.codecs.port import Codec
from certrotd.codecs.secretbox import PrefixedSecretbox
from certrotd.codecs.tink import Tink
from certrotd.config.codecs import (
    JweCodecEntry,
    LayoutCodecEntry,
    LayoutsCodecEntry,
    RailsCodecEntry,
    SymmetricCodecEntry,
    Wso2CodecEntry,
)
from certrotd.config.connect import Connect
from certrotd.config.datasets import DatasetEntry, OwnDatasetEntry, SqlDatasetEntry
from certrotd.config.environment import reveal
from certrotd.config.expectations import expectation_of
from certrotd.config.file_datasets import FilesDatasetEntry
from certrotd.config.kubernetes_datasets import KubernetesDatasetEntry
from certrotd.datasets.blind_indexes import IndexField
from certrotd.datasets.census import Tally, tally
from certrotd.datasets.documents import Document, JsonDocument, ListDocument
from certrotd.datasets.exposure import Exposure
from certrotd.datasets.keys import AssociatedData
from certrotd.datasets.port import Dataset, PreflightFinding, SelfCounting
from certrotd.datasets.reencryption import Pace
from certrotd.datasets.replica_lag import ReplicaLag
from certrotd.datasets.search import NOT_SEARCHED, Searched
from certrotd.datasets.shards import Division
from certrotd.datasets.values import Form, Leftover
from certrotd.errors import NeedsOperator
from certrotd.extras import how_to_install, installed
from certrotd.jsonpath import path_of
from certrotd.keyring.material import KeySet, Material
from certrotd.state.ports import Document as Kept
from certrotd.state.typed import TypedDocument

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from certrotd.datasets.sops_program import SopsProgram
    from certrotd.datasets.sql_dialect import Dialect

CODECS: dict[str, Codec] = {
    "tink": Tink(),
    "fernet": FernetTokens(),
    "laravel": Laravel(),
    "node-json": NodeJson(),
    "secretbox": PrefixedSecretbox(),
}
"""The codecs without options, by their names; each authenticates."""


MARKS = {"symmetric-encryption": symmetric_header.MAGIC, "ansible-vault": ansible_vault.MARK}
"""How files begin, or values in them, of forms that only files have."""


_ROWS = {"schema_name", "table", "key", "columns", "where", "json_paths", "lists", "searchable"}
_ROWS |= {"codec", "associated_data", "plaintext", "others"}
"""What of a table's entry says which rows there are, and what is made of them."""
_FILES = {"roots", "include", "exclude", "codec", "associated_data", "plaintext", "content_keys"}
_FILES |= {"content_cipher"}
"""The same of files."""
OBJECTS = 20
"""So many objects of a cluster are written between two looks at whether to stop."""


@dataclass(frozen=True)
class Opened:
    """A dataset that can be read and written, and what the configuration says of it.

    ``order`` tells its rows, their order and what they hold from any other: a position in it is
    none in another.
    """

    dataset: Dataset
    form: Form
    pace: Pace
    may_be_empty: bool
    searched: Searched = NOT_SEARCHED
    division: Division = field(default_factory=Division)
    replicas: ReplicaLag | None = None
    order: str = ""

    def findings(self, *, staged: bool) -> Sequence[PreflightFinding]:
        """What is seen before anything is written; ``staged``: while the application runs."""
        searched = self.searched.findings(staged=staged)
        return [*searched, *self.form.findings(), *self.dataset.findings()]

    def tally(self, keys: KeySet) -> Tally:
        """The census of it; raises NeedsOperator where nothing at all is there to be counted."""
        if isinstance(self.dataset, SelfCounting):
            counted = self.dataset.tally(keys)
        else:
            counted = tally(self.dataset, self.form, keys, self.pace.processes)
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


@dataclass(frozen=True)
class Clusters:
    """How API servers are reached, and where it is kept what is known of a dataset's objects."""

    connect: Connect
    kept: Callable[[str], Kept]
    clock: Clock


@contextmanager
def opened(
    name: str,
    entry: OwnDatasetEntry,
    exposure: Callable[[], Exposure] = Exposure,
    clusters: Clusters | None = None,
) -> Iterator[Opened]:
    """The dataset of an entry, while it is used; raises Failure, and so do all of its methods.

    ``exposure`` tells which keys others may know; ``clusters`` is for those in one.
    """
    if isinstance(entry, KubernetesDatasetEntry):
        assert clusters is not None, "it is of a keyring"
        yield _opened_objects(name, entry, clusters)
        return
    check_libraries(name, entry)
    if isinstance(entry, FilesDatasetEntry):
        yield from _opened_files(name, entry, exposure)
        return
    yield from _opened_table(name, entry)


def check_libraries(name: str, entry: SqlDatasetEntry | FilesDatasetEntry) -> None:
    """Raise NeedsOperator if a library that the dataset needs is not installed."""
    for extra, (_, modules) in entry.libraries.items():
        for module in modules:
            if not installed(module):
                words = f"the dataset {name} needs the Python module {module}"
                hint = how_to_install(extra)
                raise NeedsOperator(f"{words}, which is not installed", hint=hint)


def check_program(name: str, entry: FilesDatasetEntry) -> None:
    """Raise NeedsOperator if the program is not installed that re-encrypts the files."""
    if entry.codec == "sops":
        try:
            _sops_program(entry).require()
        except NeedsOperator as error:
            raise NeedsOperator(f"the dataset {name}: {error.message}", hint=error.hint) from None


def _digest(entry: OwnDatasetEntry, options: set[str]) -> str:
    """Of some options of an entry."""
    told = entry.model_dump_json(include=options, fallback=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def host_of(url: str) -> str:
    """The host and port of a database, for people; of a socket its directory."""
    parts = urlsplit(url)
    told = dict(parse_qsl(parts.query))
    named = ":".join(told[each] for each in ("host", "port") if each in told)
    return parts.netloc.rpartition("@")[2] or named or parts.path


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
        case SymmetricCodecEntry() as told:
            return _symmetric(told, by_cbc=bool(entry.expects))
        case LayoutCodecEntry() | LayoutsCodecEntry() as told:
            return told.codec(bound=entry.associated_data is not None)
        case str(name):
            return CODECS[name]


def _symmetric(told: SymmetricCodecEntry, *, by_cbc: bool) -> Codec:
    """Of AES-CBC only if somebody else looks at what values open to."""
    from certrotd.codecs.encoding import Encoding
    from certrotd.codecs.expectation import Anything
    from certrotd.codecs.symmetric_encryption import SymmetricEncryption

    return SymmetricEncryption(
        Anything() if by_cbc else None,
        Encoding(told.encoding),
        random_iv=told.random_iv,
        compress=told.compress,
    )


def marks_of(entries: Iterable[DatasetEntry]) -> Mapping[str, bytes]:
    """How files begin, or values in them, of the forms that only some datasets have."""
    there = {each.codec for each in entries if isinstance(each, FilesDatasetEntry)}
    return {name: MARKS[name] for name in MARKS if name in there}


def _opened_objects(name: str, entry: KubernetesDatasetEntry, clusters: Clusters) -> Opened:
    from certrotd.datasets import rewritings
    from certrotd.datasets.etcd import etcd_of
    from certrotd.datasets.kubernetes import KubernetesDataset, ObjectsForm
    from certrotd.kube.collections import collections_of

    api = clusters.connect(entry.kubeconfig, entry.context)
    collections = collections_of(api, entry.resources, entry.namespaces)
    kept = TypedDocument(clusters.kept(name), rewritings.parse, rewritings.render)
    etcd = None
    if (told := entry.etcd) is not None:
        pair = (told.cert, told.key) if told.cert is not None and told.key is not None else None
        etcd = etcd_of(told.endpoint, told.ca, pair, told.prefix, clusters.clock)
    pace = Pace(batch=OBJECTS, rows_per_second=entry.objects_per_second)
    dataset = KubernetesDataset(name, api, collections, kept, etcd)
    order = _digest(entry, {"resources", "namespaces"})
    return Opened(dataset, ObjectsForm(), pace, entry.may_be_empty, order=order)


def _opened_files(
    name: str, entry: FilesDatasetEntry, exposure: Callable[[], Exposure]
) -> Iterator[Opened]:
    from certrotd.datasets.file_tree import FileTree
    from certrotd.datasets.files import FilesDataset

    tree = FileTree(entry.roots, entry.include, entry.exclude, entry.may_be_empty)
    form = _form_of_files(entry, exposure)
    with closing(FilesDataset(name, tree, streamed=entry.is_streamed)) as dataset:
        pace = Pace(entry.batch, entry.files_per_second)
        order = _digest(entry, _FILES)
        yield Opened(dataset, form, pace, entry.may_be_empty, order=order)


def _opened_table(name: str, entry: SqlDatasetEntry) -> Iterator[Opened]:
    from certrotd.datasets.connecting import engine_of

    def password() -> bytes | None:
        return entry.password.resolve().reveal() if entry.password is not None else None

    def engine(url: str, what: str) -> AbstractContextManager[tuple[Engine, Dialect]]:
        return engine_of(url, password, what=what, timeout=entry.timeout.total_seconds())

    with ExitStack() as stack:
        primary, dialect = stack.enter_context(engine(entry.url, f"the dataset {name}"))
        from certrotd.datasets.sql import SqlDataset, TableSpec
        from certrotd.datasets.sql_replicas import replication

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
        dataset = SqlDataset(name, primary, spec, dialect)
        latency = entry.latency_ms / 1000 if entry.latency_ms is not None else None
        pace = Pace(
            entry.batch, entry.rows_per_second, entry.pause_ms / 1000, latency, entry.processes
        )
        lag = None
        if entry.replica_lag_ms is not None:
            names = {url: host_of(url) for url in entry.replicas}
            engines = {n: stack.enter_context(engine(u, n))[0] for u, n in names.items()}
            lag = ReplicaLag(replication(dialect, primary, engines), entry.replica_lag_ms / 1000)
        searched = Searched(entry.searched, two_keys=entry.search_two_keys is not False)
        division = Division(entry.checkpoints == "table", entry.shards)
        order = _digest(entry, _ROWS)
        yield Opened(dataset, form, pace, entry.may_be_empty, searched, division, lag, order)


def _form_of_files(entry: FilesDatasetEntry, exposure: Callable[[], Exposure]) -> Form:
    plaintext = Leftover(entry.plaintext)
    match entry.codec:
        case "stream":
            from certrotd.datasets.streamed import CIPHERS, Slots, StreamForm

            return StreamForm(
                Slots(),
                plaintext=plaintext,
                exposure=exposure(),
                replaces=entry.content_keys == "replace",
                cipher=CIPHERS[entry.content_cipher],
            )
        case "symmetric-encryption":
            from certrotd.datasets.symmetric_files import HEADERS, SymmetricForm

            return SymmetricForm(HEADERS, plaintext=plaintext, text=entry.content == "utf8")
        case "ansible-vault":
            from certrotd.datasets.vault_documents import VaultDocument

            codec = ansible_vault.AnsibleVault(key_ids=entry.vault_ids == "key")
            return Form(codec, documents={0: VaultDocument()})
        case "sops":
            return _sops(entry)
        case "tink" | "fernet" as named:
            return Form(
                CODECS[named], lambda key, _: os.fsencode(entry.bound(str(key[1]))), plaintext
            )


def _sops(entry: FilesDatasetEntry) -> Form:
    from certrotd.datasets.sops_files import STANZAS, SopsForm

    return SopsForm(STANZAS, plaintext=Leftover(entry.plaintext), program=_sops_program(entry))


def _sops_program(entry: FilesDatasetEntry) -> SopsProgram:
    from certrotd.datasets.sops_program import SopsProgram

    def variables() -> Mapping[str, str]:
        return reveal(entry.sops.environment)

    seconds = entry.sops.timeout.total_seconds()
    return SopsProgram(entry.sops.program, seconds, variables, SystemClock())


def _form(entry: SqlDatasetEntry) -> Form:
    codec, plaintext = codec_of(entry), Leftover(entry.plaintext)
    documents: dict[int, Document] = {
        entry.columns.index(column): JsonDocument(tuple(map(path_of, paths)))
        for column, paths in entry.json_paths.items()
    }
    documents |= {
        entry.columns.index(column): ListDocument(each.encode())
        for column, each in entry.lists.items()
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
    expects = {
        entry.columns.index(column): expectation_of(each) for column, each in entry.expects.items()
    }
    others = WholePattern(entry.others.encode()) if entry.others is not None else None
    form = Form(
        codec,
        plaintext=plaintext,
        documents=documents,
        indexes=indexes,
        expects=expects,
        others=others,
        travels=not any(each.own for each in indexes.values()),
    )
    if entry.associated_data is None:
        return form
    bound = AssociatedData(entry.associated_data, entry.table, entry.columns, entry.key)
    return replace(form, binds=bound.of)
