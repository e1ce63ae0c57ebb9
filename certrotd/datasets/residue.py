"""Undeclared ciphertext: what looks like ciphertext and is in no dataset, as values tell it.

A value is judged by how it begins: as ciphertext that names a key of the keyring does, also of a
destroyed one, or as all ciphertext of a codec does. Keys are tried where that can tell more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from certrotd.codecs.errors import CodecError
from certrotd.codecs.port import Codec, KeyIds
from certrotd.codecs.stream_header import MAGIC
from certrotd.errors import Failure
from certrotd.keyring.age_keys import recipient_of
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, DataKey

SHORTEST = 3
"""A beginning of fewer bytes is that of much else."""
SHORTEST_ALIKE = 4
"""The same of one that names no key."""
MOST_BYTES = 4096
"""So much of a value is looked at."""
SAMPLE = 20
"""So many values of a place are judged."""
_STREAM: Mapping[str, bytes] = {"stream": MAGIC}


@dataclass(frozen=True)
class Residue:
    """A place with values that look like ciphertext: how many were seen, and what they are."""

    place: str
    seen: int
    what: str


@dataclass(frozen=True)
class Scanned:
    """What a scan of some places came to; ``unfinished`` are those that were not seen whole."""

    columns: int = 0
    files: int = 0
    found: tuple[Residue, ...] = ()
    unfinished: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __add__(self, other: Scanned) -> Scanned:
        return Scanned(
            self.columns + other.columns,
            self.files + other.files,
            (*self.found, *other.found),
            (*self.unfinished, *other.unfinished),
            (*self.unreadable, *other.unreadable),
        )


@dataclass(frozen=True)
class Signature:
    """How some ciphertext begins: of a codec, and if it says that, of a key version."""

    beginning: bytes
    name: str
    codec: Codec | None = None
    version: int | None = None


class Signatures:
    """How ciphertext of one keyring, and of each codec, begins; ``marks``, that of other forms."""

    def __init__(
        self, keyring: Keyring, codecs: Mapping[str, Codec], marks: Mapping[str, bytes] = _STREAM
    ) -> None:
        living = [n for n, each in keyring.entries.items() if each.secret is not None]
        self._keys = [keyring.key(number) for number in sorted(living)]
        named = [each for n, c in codecs.items() for each in _naming_keys(keyring, n, c)]
        alike = [
            Signature(begins, name, codec)
            for name, codec in codecs.items()
            if len(begins := codec.traits.beginning) >= SHORTEST_ALIKE
        ]
        marked = [Signature(mark, name) for name, mark in {**_STREAM, **marks}.items()]
        self.all: Sequence[Signature] = (*named, *alike, *marked, *_recipients(keyring, self._keys))

    @property
    def beginnings(self) -> Sequence[bytes]:
        """Each once."""
        return list(dict.fromkeys(each.beginning for each in self.all))

    def judged(self, values: Iterable[bytes]) -> tuple[int, str]:
        """How many of some values look like ciphertext, and what the first of these is."""
        seen, what = 0, ""
        for value in values:
            found = next(filter(None, (self._judged(each, value) for each in self.all)), "")
            seen += bool(found)
            what = what or found
        return seen, what

    def _judged(self, signature: Signature, value: bytes) -> str:
        if not value.startswith(signature.beginning):
            return ""
        if (codec := signature.codec) is None:
            if signature.version is not None:
                return f"it names the {signature.name} of version {signature.version}"
            return f"it begins as {signature.name} does"
        if len(value) < MOST_BYTES:  # what is longer was cut off
            try:
                codec.key_id_of(value)
            except CodecError:
                return ""
            for key in self._keys:
                if _opens(codec, value, key):
                    return f"it is {signature.name} and opens with version {key.version}"
        if signature.version is not None:
            return f"it is {signature.name} and names the key of version {signature.version}"
        return f"it looks like {signature.name}"


def _naming_keys(keyring: Keyring, name: str, codec: Codec) -> Iterator[Signature]:
    if codec.traits.key_id is KeyIds.NONE:
        return
    for number, entry in keyring.entries.items():
        if entry.algorithm not in codec.traits.algorithms:
            continue
        try:
            beginnings = codec.sql_prefixes(entry.id or str(number))
        except Failure:  # an id that this codec does not have
            continue
        for each in beginnings:
            if len(each) >= SHORTEST:
                yield Signature(each, name, codec, number)


def _recipients(keyring: Keyring, keys: Iterable[DataKey]) -> Iterator[Signature]:
    """Of age: who encrypts to one of an old key needs that key; those of files of SOPS, too."""
    active = keyring.versions.active
    for key in keys:
        if key.algorithm is Algorithm.AGE_X25519 and (not active or key.version != active.number):
            yield Signature(recipient_of(key).encode(), "age recipient", None, key.version)


def _opens(codec: Codec, value: bytes, key: DataKey) -> bool:
    if not codec.traits.authenticated or key.algorithm not in codec.traits.algorithms:
        return False
    try:
        codec.decrypt(value, key)
    except CodecError:
        return False
    return True
