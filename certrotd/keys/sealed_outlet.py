"""A keyring document for the client library: what consumers are given, and nothing else of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from certrotd.clock import Clock
from certrotd.errors import Failure
from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.document import GIVEN, Keks, Unreadable, opened, sealed
from certrotd.keyring.keyring import Entry, Keyring, Wrapped
from certrotd.keyring.material import Material
from certrotd.keyring.states import Code, State, Transition, Version, Versions
from certrotd.outputs.port import Imported, OutputPlace, Present

_PATHS: Mapping[State, tuple[State, ...]] = {
    State.ACTIVE: (State.ACTIVE,),
    State.SECONDARY: (State.PRE_ACTIVE, State.SECONDARY),
    State.DECRYPT_ONLY: (State.DECRYPT_ONLY,),
    State.RETIRED: (State.DECRYPT_ONLY, State.RETIRED),
    State.COMPROMISED: (State.DECRYPT_ONLY, State.COMPROMISED),
}
_CODES = {
    State.PRE_ACTIVE: Code.GENERATED,
    State.SECONDARY: Code.DISTRIBUTED,
    State.ACTIVE: Code.ADOPTED,
    State.DECRYPT_ONLY: Code.ADOPTED,
    State.RETIRED: Code.RETIRED,
    State.COMPROMISED: Code.COMPROMISED,
}


@dataclass(frozen=True)
class SealedFile:
    """Placed, of one file that certrotd alone writes."""

    path: Path

    def paths(self, present: Present) -> Sequence[Path]:
        del present
        return (self.path,)

    def check(self, present: Present) -> None:
        """Whatever it is, it is replaced as a whole."""


@dataclass(frozen=True)
class SealedOutlet:
    """Outlet, of a sealed document at ``path``; ``keks`` wrap it, ``seal`` draws one for it."""

    name: str
    keyring: str
    path: Path
    files: OutputPlace
    keks: Keks
    clock: Clock
    seal: Callable[[], Material]

    def absent(self) -> bool:
        return self._data() is None

    def imported(self) -> Imported | None:
        """No application makes its keys in this form."""
        return None

    def strange(self, keyring: Keyring) -> str | None:
        """Nothing but certrotd makes one: what cannot be read is replaced."""
        del keyring
        return None

    def differs(self, delivery: Delivery) -> str | None:
        there = self._there()
        if there is None:
            return "it is not a keyring of certrotd's"
        same = Delivery.of(there).hash == delivery.hash
        return None if same else "it is of another delivery"

    def deliver(self, delivery: Delivery) -> Mapping[Path, str]:
        present = self.files.present()
        there = self._in(present)
        wrapped = there is not None and there.seal.by.keys() == self.keks.keys()
        if there is None or not wrapped or Delivery.of(there).hash != delivery.hash:
            revision = there.revision if there else 0
            # clients never go back, also after the file was lost
            least = max(revision, int(self.clock.now().timestamp()))
            data, _ = sealed(_keyring(delivery, least, self.seal()), self.keks, use=GIVEN)
            self.files.write({self.path: data}, over=present)
        return self.digests()

    def set_aside(self, mark: str) -> Sequence[Path]:
        return self.files.set_aside(mark)

    def digests(self) -> Mapping[Path, str]:
        data = self._data()
        return {} if data is None else {self.path: hashlib.sha256(data).hexdigest()}

    def problems(self, delivery: Delivery | None, *, dry: bool = False) -> Sequence[Failure]:
        del delivery
        return list(self.files.problems(dry=dry))

    def sweep(self) -> None:
        self.files.sweep()

    def _data(self) -> bytes | None:
        return self.files.present()[self.path]

    def _there(self) -> Keyring | None:
        """The keyring that stands there, None if none or one that cannot be used."""
        return self._in(self.files.present())

    def _in(self, present: Present) -> Keyring | None:
        data = present[self.path]
        if data is None:
            return None
        try:
            where = str(self.path)
            found = opened(data, self.keks, name=self.keyring, place=where, uses=(GIVEN,))
            return found.keyring
        except Unreadable:
            return None


def _keyring(delivery: Delivery, revision: int, seal: Material) -> Keyring:
    """The delivery as a keyring, without the history of its versions.

    Its ``seal`` is its own: who has one document cannot make certrotd's own, nor try passphrases.
    """
    entries = {each.key.version: Entry.of(each.key, seal) for each in delivery.keys}
    versions = Versions(tuple(_version(each) for each in delivery.keys))
    return Keyring(delivery.keyring, revision, versions, entries, Wrapped(seal))


def _version(each: Delivered) -> Version:
    at: datetime = each.created
    moves = (Transition(to, at, _CODES[to], "delivered") for to in _PATHS[each.state])
    return Version(each.key.version, tuple(moves))
