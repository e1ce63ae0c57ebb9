"""A keyring: its key versions, what is known of each, and its material while it has any."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from certrotd.errors import InvalidInput
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from certrotd.keyring.states import State, Versions

_DOMAIN = b"certrotd fingerprint\0"


def fingerprint(material: Material, seal: Material) -> str:
    """What names material within its keyring without showing any of it: 64 bits in hex.

    HMAC-SHA256 under the seal of the keyring: whoever reads it in a report cannot try passphrases.
    """
    return hmac.new(seal.reveal(), _DOMAIN + material.reveal(), "sha256").hexdigest()[:16]


@dataclass(frozen=True)
class Wrapped:
    """Material, and what each KEK, by its name, has made of it."""

    material: Material
    by: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True, slots=True)
class Use:
    """What a key has encrypted so far, and when it was used first and last."""

    messages: int = 0
    bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def counted(self, messages: int, size: int, *, at: datetime) -> Use:
        """With so many more messages, of ``size`` bytes together, the last of them at ``at``."""
        first = at if self.first is None else min(self.first, at)
        last = at if self.last is None else max(self.last, at)
        return Use(self.messages + messages, self.bytes + size, first, last)


@dataclass(frozen=True)
class Entry:
    """What is known of one version; ``secret`` is None when it is destroyed."""

    id: str
    algorithm: Algorithm
    fingerprint: str
    secret: Wrapped | None
    iv: bytes = field(default=b"", repr=False)
    use: Use = Use()

    @classmethod
    def of(cls, key: DataKey, seal: Material) -> Entry:
        """The entry of a key that no KEK has wrapped yet, in the keyring of that seal."""
        print_of = fingerprint(key.material, seal)
        return cls(key.id, key.algorithm, print_of, Wrapped(key.material), key.iv)


@dataclass(frozen=True)
class Keyring:
    """All of it, at one revision; ``seal`` authenticates what is kept of it.

    Raises InvalidInput for versions without an entry, for material of a destroyed version or none
    of another, and for two living keys of one id.
    """

    name: str
    revision: int
    versions: Versions
    entries: Mapping[int, Entry]
    seal: Wrapped

    def __post_init__(self) -> None:
        if {each.number for each in self.versions.all} != self.entries.keys():
            raise InvalidInput(f"the keyring {self.name} has versions without an entry, or more")
        ids: set[str] = set()
        for version in self.versions.all:
            entry = self.entries[version.number]
            gone = version.state is State.DESTROYED
            if gone == (entry.secret is not None):
                what = "destroyed, and its key is there" if gone else "there without its key"
                raise InvalidInput(f"version {version.number} of {self.name} is {what}")
            if not gone and entry.id:
                if entry.id in ids:
                    raise InvalidInput(f"two keys of {self.name} have the id {entry.id}")
                ids.add(entry.id)

    @property
    def live_ids(self) -> frozenset[str]:
        """The ids of keys that are not destroyed."""
        return frozenset(each.id for each in self.entries.values() if each.secret and each.id)

    @property
    def past_ids(self) -> tuple[str, ...]:
        """The ids of destroyed keys, in the order of their destruction."""
        gone = sorted(self.versions.in_state(State.DESTROYED), key=lambda each: each.since)
        return tuple(entry.id for each in gone if (entry := self.entries[each.number]).id)

    def key(self, number: int) -> DataKey:
        """A key that is not destroyed; raises InvalidInput."""
        entry = self.entries.get(number)
        if entry is None or entry.secret is None:
            raise InvalidInput(f"the keyring {self.name} has no key of version {number}")
        return DataKey(number, entry.algorithm, entry.secret.material, entry.id, entry.iv)

    def key_set(self) -> KeySet:
        """What consumers are given; raises InvalidInput while no version is active."""
        active = self.versions.active
        if active is None:
            raise InvalidInput(f"no version of the keyring {self.name} is active")
        given = [each.number for each in self.versions.all if each.state.delivered]
        return KeySet.of(map(self.key, given), active=active.number)

    def every_key(self) -> KeySet:
        """Every key that is not destroyed, for a census; raises as key_set()."""
        active = self.key_set().active
        there = [number for number, entry in self.entries.items() if entry.secret is not None]
        return KeySet.of(map(self.key, there), active=active)

    def moved(self, versions: Versions) -> Keyring:
        """With its versions in other states; the keys of those destroyed are forgotten."""
        entries = dict(self.entries)
        for each in versions.in_state(State.DESTROYED):
            entries[each.number] = replace(entries[each.number], secret=None, iv=b"")
        return replace(self, versions=versions, entries=entries)

    def added(self, key: DataKey, versions: Versions) -> Keyring:
        """With one more key, whose version is in ``versions``; raises InvalidInput."""
        entries = {**self.entries, key.version: Entry.of(key, self.seal.material)}
        return replace(self, versions=versions, entries=entries)

    def counted(self, number: int, messages: int, size: int, *, at: datetime) -> Keyring:
        """With more messages and bytes that a version encrypted."""
        entry = self.entries[number]
        used = replace(entry, use=entry.use.counted(messages, size, at=at))
        return replace(self, entries={**self.entries, number: used})


def empty(name: str, seal: Material) -> Keyring:
    """A keyring without a key, before its first revision; ``seal`` is 32 random bytes."""
    return Keyring(name, 0, Versions(), {}, Wrapped(seal))
