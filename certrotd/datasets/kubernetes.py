"""Objects of a Kubernetes cluster as a dataset: API servers write each anew under their first key.

What an object holds is never read. A row is an object's metadata; replacing it is a patch that
changes nothing, upon which the API server writes the object unless it is under its first key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from certrotd.codecs.kubernetes_etcd import BEGINNING, StoredByApiServer
from certrotd.datasets import rewritings
from certrotd.datasets.census import MOST_LISTED, Tally
from certrotd.datasets.etcd import Etcd
from certrotd.datasets.file_values import batch_of
from certrotd.datasets.port import (
    BeginningCounts,
    Busy,
    Change,
    CutShort,
    Key,
    PreflightFinding,
    Row,
)
from certrotd.datasets.rewritings import MOST_FAILED, Known, Listed
from certrotd.datasets.row_values import Batch, Quarantined, Seen
from certrotd.datasets.values import Form, Leftover
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keyring.material import KeySet
from certrotd.kube.api import Api, Denied, Expired, Missing
from certrotd.kube.collections import Collection, listed, newest, write_anew
from certrotd.kube.rights import may
from certrotd.state.ports import Conflict, TooLarge
from certrotd.state.typed import TypedDocument

BY_REWRITING = "by the API server's acknowledgement of each object's rewriting"
BY_ETCD = "by the beginnings of all values in etcd"
RESTARTS = 20
"""So often a list is begun anew because it took so long that the server forgot it."""


@dataclass(frozen=True)
class Under:
    """Change.by: under which key version the API server is to write."""

    version: int


class ObjectsForm(Form):
    """Objects that an API server encrypts; plaintext is what was stored before it did."""

    def __init__(self) -> None:
        super().__init__(StoredByApiServer(), plaintext=Leftover.ENCRYPT)

    def values(self, keys: KeySet) -> ObjectValues:
        return ObjectValues(keys)


class ObjectValues:
    """RowValues: every object is to be written anew, and the API server tells if it need not be."""

    def __init__(self, keys: KeySet) -> None:
        self.keys = keys

    def reencrypted(self, rows: Sequence[Row]) -> Batch:
        """As RowValues.reencrypted."""
        return batch_of(rows, lambda row: Change(row, row.values, Under(self.keys.active)))

    def looked_at(self, row: Row) -> Iterator[Seen | Quarantined]:
        """As RowValues.looked_at: nothing can be told by a row."""
        yield Quarantined(row.key, 0, row.trouble or "only etcd tells its key")


class KubernetesDataset:
    """Dataset and SelfCounting. ``kept`` is what passes have proven."""

    unit = "objects"

    def __init__(
        self,
        name: str,
        api: Api,
        collections: Sequence[Collection],
        kept: TypedDocument[Known],
        etcd: Etcd | None,
    ) -> None:
        self._name = name
        self._api = api
        self._collections = {each.name: each for each in collections}
        self._kept = kept
        self._etcd = etcd
        self._walk: tuple[Key | None, Iterator[Row]] = None, iter(())
        self._troubles: dict[Key, Row] = {}
        self._through: tuple[Key, int] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def fields(self) -> Sequence[str]:
        return ("object",)

    def counts(self, beginnings: Sequence[bytes]) -> BeginningCounts:
        """As Dataset.counts; how they begin is seen in etcd alone, which tally() reads."""
        return BeginningCounts(self.remaining(()), (0,) * len(beginnings))

    def remaining(self, done: Sequence[bytes]) -> int:  # noqa: ARG002
        """As Dataset.remaining: each is to be written anew."""
        return sum(1 for _ in self._rows(None))

    def rows(self, after: Key | None, most: int, done: Sequence[bytes]) -> Sequence[Row]:  # noqa: ARG002
        """As Dataset.rows."""
        self._troubles.clear()
        last, walk = self._walk
        if after is None or after != last:
            walk = self._rows(after)
        self._walk = None, iter(())
        rows = list(islice(walk, most))
        if rows:
            self._walk = rows[-1].key, walk
        elif after is not None and self._through is not None and self._through[0] == after:
            self._end(self._through[1])
        return rows

    def again(self, keys: Sequence[Key]) -> Sequence[Row]:
        """As Dataset.again, of those that could not be written: the others are done, or gone."""
        return [self._troubles[each] for each in keys if each in self._troubles]

    def replace(self, changes: Sequence[Change]) -> int:
        """As Dataset.replace, but each object by itself; nothing of any is changed."""
        known, done = self._kept.read() or {}, 0
        failed: dict[str, dict[str, int | None]] = {}
        for change in changes:
            collection, place, version = self._place_of(change)
            if collection.name not in failed:
                known = self._begun(known, collection, version)
            trouble = self._write(collection, place, change)
            told = failed.setdefault(collection.name, {})
            told[place] = int(change.row.read[1]) if trouble else None
            done += not trouble
        for name, told in failed.items():
            known = self._tried(known, name, version, told)
        self._through = (changes[-1].row.key, version) if changes else self._through
        return done

    def findings(self) -> Sequence[PreflightFinding]:
        """As Dataset.findings: what the account may not do."""
        return [
            PreflightFinding("permission", f"the account may not {right}", fatal=True)
            for each in self._collections.values()
            for right in each.rights()
            if not may(self._api, right)
        ]

    def tally(self, keys: KeySet) -> Tally:
        """As SelfCounting.tally."""
        return self._read_etcd(keys) if self._etcd is not None else self._proven(keys)

    def _proven(self, keys: KeySet) -> Tally:
        known = self._kept.peek() or {}
        by_version, unknown = dict.fromkeys(sorted(keys.keys), 0), 0
        for name, collection in self._collections.items():
            revision = newest(self._api, collection)
            seen = (Listed(place, revision) for place, _, revision in self._listed(collection))
            found = rewritings.counted(seen, known.get(name, {}), keys.keys, keys.active, revision)
            unknown += found.unknown
            for version, count in found.by_version.items():
                by_version[version] = by_version.get(version, 0) + count
        return Tally(by_version, 0, unknown, (), BY_REWRITING)

    def _read_etcd(self, keys: KeySet) -> Tally:
        assert self._etcd is not None, "it is there"
        codec, by_version = StoredByApiServer(), dict.fromkeys(sorted(keys.keys), 0)
        versions = {codec.key_id_for(key): key.version for key in keys}
        plaintext, unopened, strange = 0, 0, list[Quarantined]()
        for collection in self._collections.values():
            there = 0
            for place, value in self._etcd.stored(_folder(collection)):
                there += 1
                key_id = codec.key_id_of(value) if value.startswith(BEGINNING) else ""
                if key_id == "":
                    plaintext += 1
                elif key_id in versions:
                    by_version[versions[key_id]] += 1
                else:
                    unopened += 1
                    why = f"it is under a key of the name {key_id}" if key_id else "unknown form"
                    some = [Quarantined((collection.name, place), 0, why)]
                    strange += some if len(strange) < MOST_LISTED else []
            if not there and next(listed(self._api, collection), None) is not None:
                hint = "is that the etcd of this cluster, and its prefix?"
                raise CutShort(f"etcd has no {collection.name}, the API server does", hint=hint)
        return Tally(by_version, plaintext, unopened, tuple(strange), BY_ETCD)

    def _rows(self, after: Key | None) -> Iterator[Row]:
        names = list(self._collections)
        first = names.index(str(after[0])) if after is not None and after[0] in names else 0
        for number, name in enumerate(names[first:]):
            behind = str(after[1]) if after is not None and not number and after[0] == name else ""
            for place, uid, revision in self._listed(self._collections[name], behind):
                yield Row((name, place), (BEGINNING,), (uid, revision))

    def _listed(self, collection: Collection, after: str = "") -> Iterator[tuple[str, str, int]]:
        """Every object behind a place; a list that the server has forgotten goes on there."""
        for _ in range(RESTARTS):
            last = ""
            try:
                for each in listed(self._api, collection):
                    if each.place <= last:
                        raise NeedsOperator(f"{collection.name} are not listed in their order")
                    last = each.place
                    if each.place > after:
                        after = each.place
                        yield each
            except Expired:
                continue
            return
        raise CutShort(f"{collection.name} cannot be listed to their end")

    def _place_of(self, change: Change) -> tuple[Collection, str, int]:
        name, place = map(str, change.row.key)
        assert isinstance(change.by, Under), "ObjectValues made it"
        return self._collections[name], place, change.by.version

    def _begun(self, known: Known, collection: Collection, version: int) -> Known:
        begun = known.get(collection.name, {}).get(version)
        if begun is not None and self._through is not None:
            return known  # this process has begun it
        now = rewritings.begun(known, collection.name, version, newest(self._api, collection))
        if now is not known:
            self._kept.write(now)
        return now

    def _tried(
        self, known: Known, name: str, version: int, failed: Mapping[str, int | None]
    ) -> Known:
        now = rewritings.tried(known, name, version, failed)
        if len(now[name][version].failed) > MOST_FAILED:
            raise NeedsOperator(f"the API server refuses to write more than {MOST_FAILED} {name}")
        if now is not known:
            self._kept.write(now)
        return now

    def _end(self, version: int) -> None:
        """A pass has come to the end of all collections."""
        known = self._kept.read() or {}
        for name, collection in self._collections.items():
            if version in known.get(name, {}):
                revision = newest(self._api, collection)
                known = rewritings.ended(known, name, version, revision)
        self._kept.write(known)
        self._through = None

    def _write(self, collection: Collection, place: str, change: Change) -> str:
        """Have one written; why it was not, if it is still there as it was."""
        uid, _ = change.row.read
        try:
            write_anew(self._api, collection, place, uid)
        except (Missing, Conflict):
            return ""  # it is gone, or somebody else has written it
        except Denied as failure:
            if failure.hint:  # a right is lacking, to all of them
                raise
            return self._trouble(change, failure)
        except Transient as failure:
            words, wait = failure.message, failure.retry_after
            raise Busy(words, hint=failure.hint, retry_after=wait) from failure
        except (NeedsOperator, TooLarge) as failure:
            return self._trouble(change, failure)
        return ""

    def _trouble(self, change: Change, failure: Failure) -> str:
        self._troubles[change.row.key] = change.row._replace(trouble=failure.message)
        return failure.message


def _folder(collection: Collection) -> str:
    """Where API servers keep such objects in etcd; those of custom resources by their group."""
    plural, _, group = collection.resource.name.partition(".")
    own = "." in group and not group.endswith(".k8s.io")
    folder = f"{group}/{plural}" if own else plural
    return f"{folder}/{collection.namespace}" if collection.namespace else folder
