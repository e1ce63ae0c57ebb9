"""What becomes of the values of some rows under the active key: pure but for fresh nonces.

A value is re-encrypted only if a key of the keyring opens it, and only into what opens again to
the same plaintext. What does not open stays as it is, and is reported: it may be ciphertext of a
key that is not at hand, altered, or something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as option
from enum import StrEnum

from certrotd.codecs.errors import CodecError, Damaged
from certrotd.codecs.expectation import Expectation, Length
from certrotd.codecs.patterns import WholePattern
from certrotd.codecs.port import Codec, KeyIds, Marking
from certrotd.codecs.selection import Opened, by_construction, named_by, opened_by
from certrotd.datasets.blind_indexes import OWN, BlindIndexes, IndexField
from certrotd.datasets.documents import Document
from certrotd.datasets.plaintext import is_plaintext, mark_of
from certrotd.datasets.port import Change, Key, PreflightFinding, Row
from certrotd.datasets.row_values import Batch, Quarantined, RowValues, Seen, SeenIndex, Unfit
from certrotd.jsonscan import Place
from certrotd.keyring.material import DataKey, KeySet


class Leftover(StrEnum):
    """What is done about plaintext among ciphertext."""

    REFUSE = "refuse"
    ENCRYPT = "encrypt"
    LEAVE = "leave"


def unbound(_key: Key, _field: int) -> bytes:
    """No associated data."""
    return b""


@dataclass(frozen=True)
class Form:
    """How the values of a dataset are encrypted; ``binds`` gives the associated data of one.

    A field of ``documents`` is one such, in which the values stand. One of ``indexes`` is the blind
    index of another. ``expects`` is what plaintext looks like, by field, where the codec has no
    MAC. What ``others`` matches as a whole is under other keys, and no concern. ``marks_all``: what
    the active key encrypts is written anew where nothing in it says so. What ``travels`` can be
    pickled, and used in another process.
    """

    codec: Codec
    binds: Callable[[Key, int], bytes] = unbound
    plaintext: Leftover = Leftover.REFUSE
    documents: Mapping[int, Document] = option(default_factory=dict)
    indexes: Mapping[int, IndexField] = option(default_factory=dict)
    expects: Mapping[int, Expectation] = option(default_factory=dict)
    others: WholePattern | None = None
    marks_all: bool = False
    travels: bool = False

    @property
    def proves_nothing(self) -> bool:
        """Whether a wrong key would not be noticed: of some plaintext only the length is known."""
        return self.by_construction and any(isinstance(e, Length) for e in self.expects.values())

    @property
    def by_construction(self) -> bool:
        """Whether nothing tells the key of a value but who wrote it, and which key that one has."""
        return not self.codec.traits.authenticated and self.codec.traits.key_id is KeyIds.NONE

    def concerns(self, value: bytes) -> bool:
        """Whether it is under keys of the keyring, or should be; raises CodecError."""
        return self.others is None or not self.others.matches(value)

    def parts(self, row: Row) -> Iterator[bytes]:
        """The values of a row that are not empty, also those in documents; raises CodecError."""
        if row.trouble:
            raise Damaged(row.trouble)
        for field, value in enumerate(row.values):
            if not value or field in self.indexes:
                continue
            if (document := self.documents.get(field)) is None:
                yield value
                continue
            yield from (_text(each) for each in document.places(value) if each.value)

    def values(self, keys: KeySet) -> RowValues:
        """What tells of rows what they are, and what they are to be."""
        return Values(self, keys)

    def findings(self) -> Sequence[PreflightFinding]:
        """What is seen before anything is re-encrypted."""
        return ()


class Values:
    """RowValues, of one ``form``."""

    def __init__(self, form: Form, keys: KeySet) -> None:
        self.form = form
        self.keys = keys
        self._codec, self._active = codec, active = form.codec, keys.encrypting
        self._active_id = codec.key_id_for(active)
        self._names_keys = codec.traits.key_id is KeyIds.STRICT
        self._by_construction = form.by_construction
        self._beginning = codec.traits.beginning
        self._mark = mark_of(self._beginning)
        self._named: dict[str | None, tuple[DataKey, ...]] = {}
        self._indexes = BlindIndexes(form.indexes, keys)
        self._messages = self._size = 0
        quick = self._names_keys and not form.expects
        self._by_beginning = self._beginnings() if quick else {}
        self._beginning_length = max(map(len, self._by_beginning), default=0)

    def _beginnings(self) -> Mapping[bytes, DataKey]:
        """The key of each beginning of ciphertext, none if they differ in length."""
        found: dict[bytes, DataKey] = {}
        for key in self.keys:
            key_id = self._codec.key_id_for(key)
            begins = self._codec.sql_prefixes(key_id) if key_id is not None else ()
            found |= dict.fromkeys(begins, key)
        return found if len(set(map(len, found))) == 1 else {}

    def reencrypted(self, rows: Sequence[Row]) -> Batch:
        """As RowValues.reencrypted."""
        changes: list[Change] = []
        quarantined: list[Quarantined] = []
        self._messages = self._size = 0
        binds, documents = self.form.binds, self.form.documents
        apart = self._indexes.apart
        for row in rows:
            if row.trouble:
                quarantined.append(Quarantined(row.key, 0, row.trouble))
                continue
            after: list[bytes | None] | None = None
            for field, value in enumerate(row.values):
                if not value or field in apart:
                    continue
                try:
                    if field in documents:
                        new = self._document(row.key, field, value, quarantined)
                    elif self.form.concerns(value):
                        new = self._renewed(value, binds(row.key, field), field)
                    else:
                        continue
                except CodecError as error:
                    quarantined.append(Quarantined(row.key, field, error.message))
                    continue
                if new is not None:
                    after = after or list(row.values)
                    after[field] = new
            for field in self._indexes.of:
                for changed, new in self._with_indexes(row, field, quarantined).items():
                    after = after or list(row.values)
                    after[changed] = new
            if after is not None:
                changes.append(Change(row, tuple(after)))
        return Batch(tuple(changes), tuple(quarantined), self._messages, self._size)

    def _with_indexes(
        self, row: Row, field: int, quarantined: list[Quarantined]
    ) -> Mapping[int, bytes]:
        """What changes of a value together with its blind indexes: everything, or nothing."""
        value, associated = row.values[field], self.form.binds(row.key, field)
        changed: dict[int, bytes] = {}
        unknown: list[Quarantined] = []
        try:
            seen = self._seen(value, associated, field) if value else None
            new = self._renewal(value, seen, associated) if value and seen else None
        except CodecError as error:
            quarantined.append(Quarantined(row.key, field, error.message))
            return {}
        if new is not None:
            changed[field] = new
        plaintext, version = (seen.plaintext, seen.version) if seen else (value, None)
        for each in self._indexes.of[field]:
            try:
                new = self._indexes.renewed(each, row.values[each], plaintext, version)
            except CodecError as error:
                unknown.append(Quarantined(row.key, each, error.message))
                continue
            if new is not None:
                changed[each] = new
        if not unknown:
            return changed
        words = "it stays with a blind index that is not known"
        quarantined += [*unknown, *(Quarantined(row.key, each, words) for each in changed)]
        return {}

    def looked_at(self, row: Row) -> Iterator[Seen | SeenIndex | Quarantined]:
        """As RowValues.looked_at."""
        if row.trouble:
            yield Quarantined(row.key, 0, row.trouble)
            return
        for field in self._indexes.of:
            yield from self._looked_at_indexes(row, field)
        for field, value in enumerate(row.values):
            if not value or field in self._indexes.apart:
                continue
            if field in self.form.documents:
                yield from self._looked_into(row.key, field, value)
                continue
            try:
                if self.form.concerns(value):
                    yield self._seen(value, self.form.binds(row.key, field), field)
            except CodecError as error:
                yield Quarantined(row.key, field, error.message)

    def _looked_at_indexes(self, row: Row, field: int) -> Iterator[Seen | SeenIndex | Quarantined]:
        """What a value is, and each of its blind indexes."""
        value = row.values[field]
        plaintext, version = value, None
        if value:
            try:
                seen = self._seen(value, self.form.binds(row.key, field), field)
            except CodecError as error:
                yield Quarantined(row.key, field, error.message)
                return
            yield seen
            plaintext, version = seen.plaintext, seen.version
        for each in self._indexes.of[field]:
            try:
                found = self._indexes.stored(each, row.values[each], plaintext, version)
            except CodecError as error:
                yield Quarantined(row.key, each, error.message)
                continue
            if found is not None and found.version != OWN:
                yield SeenIndex(found.version)

    def _looked_into(self, key: Key, field: int, document: bytes) -> Iterator[Seen | Quarantined]:
        try:
            found = self._places(field, document)
        except CodecError as error:
            yield Quarantined(key, field, error.message)
            return
        for place in found:
            try:
                yield self._seen(_text(place), self.form.binds(key, field), field)
            except CodecError as error:
                yield Quarantined(key, field, f"at {place.where}, {error.message}")

    def _places(self, field: int, document: bytes) -> Sequence[Place]:
        """Those in a document that are not empty; what is no text only if it matters."""
        leaves = self.form.plaintext is Leftover.LEAVE
        found = self.form.documents[field].places(document)
        return [
            each
            for each in found
            if (each.value and self.form.concerns(_text(each)))
            or (each.value is None and not leaves)
        ]

    def _document(
        self, key: Key, field: int, document: bytes, quarantined: list[Quarantined]
    ) -> bytes | None:
        """A document whose values are under the active key, None if none of them changes."""
        changes: list[tuple[Place, bytes]] = []
        for place in self._places(field, document):
            try:
                new = self._renewed(_text(place), self.form.binds(key, field), field)
            except CodecError as error:
                quarantined.append(Quarantined(key, field, f"at {place.where}, {error.message}"))
                continue
            if new is not None:
                changes.append((place, new))
        return self.form.documents[field].spliced(document, changes) if changes else None

    def _renewed(self, value: bytes, associated: bytes, field: int) -> bytes | None:
        """``value`` under the active key, None if it is or is to stay as it is."""
        return self._renewal(value, self._seen(value, associated, field, opens=False), associated)

    def _renewal(self, value: bytes, seen: Seen, associated: bytes) -> bytes | None:
        """As _renewed, of a value that was looked at."""
        codec, active = self._codec, self._active
        version, plaintext = seen
        if version == active.version and not self._is_unmarked(value):
            return None
        if version is None and self.form.plaintext is Leftover.LEAVE:
            return None
        replacing = value if version is not None else None
        new = codec.encrypt(plaintext, active, associated, replacing=replacing)
        self._messages += 1
        self._size += len(plaintext)
        if codec.decrypt(new, active, associated) != plaintext:
            raise Unfit("its ciphertext under the active key does not open to the same plaintext")
        return new

    def _is_unmarked(self, value: bytes) -> bool:
        """Whether nothing in it says that the active key wrote it."""
        codec = self.form.codec
        if not self.form.marks_all or not isinstance(codec, Marking):
            return False
        return not codec.marked(value, self.keys.encrypting)

    def _seen(self, value: bytes, associated: bytes, field: int, *, opens: bool = True) -> Seen:
        """What ``value`` is; unless it ``opens``, the active key's own is known by its id alone."""
        codec, active = self._codec, self._active
        if (key := self._by_beginning.get(value[: self._beginning_length])) is not None:
            if key is active and not opens:
                return Seen(active.version)
            try:
                plaintext = codec.decrypt(value, key, associated)
            except CodecError:
                pass  # a closer look says more
            else:
                if not plaintext.startswith(self._beginning):
                    return Seen(key.version, plaintext)
        try:
            key_id = codec.key_id_of(value)
            if not opens and self._names_keys and key_id == self._active_id:
                return Seen(active.version)
            plaintext, key = self._opened(value, key_id, associated)
        except Damaged:
            if self.form.plaintext is not Leftover.REFUSE and is_plaintext(value, self._mark):
                return Seen(None, value)
            raise
        expected = self.form.expects.get(field)
        if expected is not None and not expected.holds(plaintext):
            raise Unfit("it opens to something else than what is expected: another key wrote it?")
        if key is not active and self._is_ciphertext(plaintext, associated):
            raise Unfit("it is encrypted twice, and the inner key would be needed for ever")
        return Seen(key.version, plaintext)

    def _opened(self, value: bytes, key_id: str | None, associated: bytes) -> Opened:
        """By the keys that ``key_id`` may be of, which are looked for once."""
        if key_id is None and self._by_construction:
            return by_construction(self.form.codec, value, self.keys, associated)
        if (named := self._named.get(key_id)) is None:
            named = self._named[key_id] = named_by(self.form.codec, key_id, self.keys)
        return opened_by(self.form.codec, value, named, associated)

    def _is_ciphertext(self, plaintext: bytes, associated: bytes) -> bool:
        if not plaintext.startswith(self._beginning) or (
            self._by_construction and not self._beginning
        ):
            return False  # without a MAC, much else seems to open
        try:
            self._opened(plaintext, self.form.codec.key_id_of(plaintext), associated)
        except CodecError:
            return False
        return True


def _text(place: Place) -> bytes:
    if place.value is None:
        raise Unfit("it is no text")
    return place.value.encode("utf-8", "surrogatepass")
