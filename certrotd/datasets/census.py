"""The census: how many values of a dataset are under each key version, by looking at all of them.

Where ciphertext names its key by how it begins, the database counts; the rest is opened here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from certrotd.codecs.errors import CodecError
from certrotd.datasets.port import Dataset, Key, Row
from certrotd.datasets.process_pool import row_values
from certrotd.datasets.row_values import Quarantined, SeenIndex
from certrotd.datasets.values import Form
from certrotd.keyring.material import KeySet

BATCH = 1000
MOST_LISTED = 100


BY_BEGINNING = "by the beginnings of ciphertext"
BY_TRIAL = "by opening every value"
BY_CONSTRUCTION = "by construction, and by what every value opens to"
"""The application has had one key, and what certrotd wrote is marked by its own."""
BY_INDEX = "by opening every value and making its blind indexes"


@dataclass(frozen=True)
class Tally:
    """How many values are under each version, plaintext, or not to be opened (``unopened``).

    ``quarantined`` lists some of the latter. ``method`` says how the version was told. ``indexes``
    are blind indexes by version; one with a key of its own is there only under the key before.
    """

    by_version: Mapping[int, int]
    plaintext: int
    unopened: int
    quarantined: tuple[Quarantined, ...]
    method: str
    indexes: Mapping[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All values that are not empty, blind indexes apart."""
        return sum(self.by_version.values()) + self.plaintext + self.unopened

    def left(self, version: int) -> int:
        """How many may be under a version: those of it, and those that nobody can tell of."""
        return self.by_version.get(version, 0) + self.indexes.get(version, 0) + self.unopened


def tally(dataset: Dataset, form: Form, keys: KeySet, processes: int | None = None) -> Tally:
    """Count everything, in so many processes, or (None) as many as pay; raises Failure."""
    beginnings = beginnings_of(form, keys)
    by_version = dict.fromkeys(sorted(keys.keys), 0)
    flat = [(version, each) for version, every in beginnings.items() for each in every]
    if flat:
        counted = dataset.counts([each for _, each in flat])
        for (version, _), count in zip(flat, counted.by_beginning, strict=True):
            by_version[version] += count
        if counted.filled == sum(by_version.values()):
            return Tally(by_version, 0, 0, (), BY_BEGINNING)
    known = tuple(each for _, each in flat)
    plaintext, unopened, indexes = 0, 0, dict[int, int]()
    listed: list[Quarantined] = []
    with row_values(form, keys, processes) as values:
        for rows in _batches(dataset, known):
            for seen in values.looked_at([_without(row, known) for row in rows]):
                if isinstance(seen, Quarantined):
                    unopened += 1
                    listed += [seen] if len(listed) < MOST_LISTED else []
                elif isinstance(seen, SeenIndex):
                    indexes[seen.version] = indexes.get(seen.version, 0) + 1
                elif seen.version is None:
                    plaintext += 1
                else:
                    by_version[seen.version] = by_version.get(seen.version, 0) + 1
    method = BY_BEGINNING if flat else BY_INDEX if form.indexes else BY_TRIAL
    if form.by_construction:
        method = BY_CONSTRUCTION
    return Tally(by_version, plaintext, unopened, tuple(listed), method, indexes)


def unnamed(dataset: Dataset, form: Form) -> int:
    """How many values name no key, or cannot be told to; raises Failure."""
    count = 0
    for row in chain.from_iterable(_batches(dataset, ())):
        try:
            named = [form.codec.key_id_of(each) is not None for each in form.parts(row)]
        except CodecError:
            count += 1
        else:
            count += named.count(False)
    return count


def beginnings_of(form: Form, keys: KeySet) -> Mapping[int, tuple[bytes, ...]]:
    """How ciphertext under each version begins; empty where that does not tell.

    Of a blind index it does not: only the plaintext does.
    """
    if form.indexes:
        return {}
    found: dict[int, tuple[bytes, ...]] = {}
    for key in keys:
        key_id = form.codec.key_id_for(key)
        begins = form.codec.sql_prefixes(key_id) if key_id is not None else ()
        if not begins:
            return {}
        found[key.version] = begins
    return found


def _batches(dataset: Dataset, known: tuple[bytes, ...]) -> Iterator[Sequence[Row]]:
    after: Key | None = None
    while rows := dataset.rows(after, BATCH, known):
        yield rows
        after = rows[-1].key


def _without(row: Row, known: tuple[bytes, ...]) -> Row:
    """The row without the values that the database has counted."""
    kept = tuple(None if v and known and v.startswith(known) else v for v in row.values)
    return row._replace(values=kept)
