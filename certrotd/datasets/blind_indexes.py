"""Blind indexes of a dataset: fields of a row that are made of the plaintext of another one.

An index is replaced only where a key at hand makes the one that is stored: what another key,
another function or another text made is not known, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from certrotd.codecs.blind_index import BlindIndex
from certrotd.codecs.errors import CodecError
from certrotd.keyring.material import KeySet, Material

OWN, PREVIOUS = -1, 0
"""What stands for the key of an index's own, and the one before; versions begin with 1."""


class UnknownIndex(CodecError):
    """A blind index that no key at hand makes of the value."""


@dataclass(frozen=True)
class IndexField:
    """That a field is the blind index of the field ``of``.

    ``own`` are a key of its own and the one before, if it has any; else its key is that of the
    keyring. Where it is NULL it is made only if it ``fills``.
    """

    of: int
    index: BlindIndex
    own: tuple[Material, ...] = ()
    fills: bool = False

    def keys(self, keys: KeySet) -> Sequence[tuple[int, bytes]]:
        """Versions and keys of the index; what it is to be under comes first."""
        if self.own:
            secrets = zip((OWN, PREVIOUS), self.own, strict=False)
            return [(n, self.index.key(each.reveal())) for n, each in secrets]
        return [(each.version, self.index.key(each.material.reveal())) for each in keys]


class StoredIndex(NamedTuple):
    """What one blind index is: under ``version``, and what it is to be."""

    version: int
    wanted: bytes


class BlindIndexes:
    """Those of every row, under the keys of one keyring."""

    def __init__(self, fields: Mapping[int, IndexField], keys: KeySet) -> None:
        self._fields = fields
        self._keys = {field: each.keys(keys) for field, each in fields.items()}
        self.of: Mapping[int, Sequence[int]] = {
            searched: [field for field, each in fields.items() if each.of == searched]
            for searched in sorted({each.of for each in fields.values()})
        }
        self.apart = frozenset(fields) | frozenset(self.of)
        """The fields that are looked at together."""

    def stored(
        self, field: int, index: bytes | None, plaintext: bytes | None, likely: int | None
    ) -> StoredIndex | None:
        """What ``index`` is, of a value that is most ``likely`` under that version.

        None where there is none. Raises UnknownIndex, or Unsupported.
        """
        if not index:
            return None
        if plaintext is None:
            raise UnknownIndex("it is the blind index of a value that is not there")
        (first, key), *others = self._keys[field]
        made = self._fields[field].index
        wanted = made.of(plaintext, key)
        if index == wanted:
            return StoredIndex(first, wanted)
        for version, other in sorted(others, key=lambda each: each[0] != likely):
            if index == made.of(plaintext, other):
                return StoredIndex(version, wanted)
        raise UnknownIndex(
            "no key at hand makes this blind index of the value: function, key and normalize have "
            "to be the application's"
        )

    def renewed(
        self, field: int, index: bytes | None, plaintext: bytes | None, likely: int | None
    ) -> bytes | None:
        """The index that replaces ``index``, None if it stays; raises as stored()."""
        found = self.stored(field, index, plaintext, likely)
        if found is not None:
            return found.wanted if found.wanted != index else None
        told = self._fields[field]
        if plaintext is None or not told.fills:
            return None
        return told.index.of(plaintext, self._keys[field][0][1])
