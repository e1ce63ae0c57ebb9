"""Where keyrings are kept: a document each, replaced only as it was read, never made anew.

Beside it a second document holds the highest revision that was written, so that a keyring that was
deleted, or put back from before, is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.jsontext import parsed
from certrotd.keyring.document import (
    Inspected,
    Keks,
    Opened,
    Unreadable,
    inspected,
    opened,
    rewrapped,
    sealed,
)
from certrotd.keyring.keyring import Keyring
from certrotd.state.ports import ABSENT, Conflict, Content, Document


class NoKeyring(NeedsOperator):
    """The keyring was never written: its application has no key that certrotd knows."""

    def __init__(self, name: str) -> None:
        adopts = f"certrotd keys adopt {name} takes over the key that the application has"
        hint = f"{adopts}; certrotd rotate key/{name} makes the first"
        super().__init__(f"the keyring {name} has no key yet", hint=hint)


class KeyringLost(Unreadable):
    """The document is gone, though the keyring was written before."""


@dataclass(frozen=True)
class Found:
    """A keyring as it is kept; ``at`` is what a write must still find."""

    opened: Opened
    at: str

    @property
    def keyring(self) -> Keyring:
        return self.opened.keyring


class KeyringStore:
    """The keyring ``name`` in ``document``; ``mark`` keeps its highest revision.

    It is wrapped by ``keks``; ``former`` ones open it too, until it is written again.
    ``make_keks`` makes those that are still to be made, before each write.
    """

    def __init__(
        self,
        name: str,
        document: Document,
        mark: Document,
        keks: Keks,
        *,
        former: Keks = MappingProxyType({}),
        make_keks: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._document = document
        self._mark = mark
        self._keks = keks
        self._opening = {**keks, **former}
        self._make_keks = make_keks
        self._least = 0
        self._inspected: tuple[str, Inspected] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self._document.place

    def read(self) -> Found | None:
        """The keyring; None if it was never written.

        Raises Unreadable, KeksUnavailable or DiskTrouble; the document stays as it is.
        """
        content, least = self._content()
        if content is None:
            return None
        place = self._document.place
        found = opened(content.data, self._opening, name=self._name, place=place, least=least)
        self._least = found.keyring.revision
        return Found(found, content.revision)

    def inspect(self) -> Inspected | None:
        """What is known of the keyring without its keys, and of a document seen before unasked.

        Raises as read().
        """
        at = self._document.revision()
        if self._inspected is not None and at not in (ABSENT, self._inspected[0]):
            self._inspected = None
        if self._inspected is None or at == ABSENT:
            content, least = self._content()
            if content is None:
                self._inspected = None
                return None
            place = self._document.place
            found = inspected(
                content.data, self._opening, name=self._name, place=place, least=least
            )
            self._least = found.revision
            self._inspected = content.revision, found
        return self._inspected[1]

    def rewrapped(self, keyring: Keyring) -> Keyring:
        """With everything wrapped by the present version of each KEK; raises as Kek.rewrap."""
        for name, kek in self._keks.items():
            keyring = rewrapped(keyring, name, kek)
        return keyring

    def create(self, keyring: Keyring) -> Found:
        """Write a keyring where there was never one; raises Conflict, and as read() and write()."""
        if self.read() is not None:
            raise Conflict(f"{self._document.place} is there already")
        return self._put(keyring, ABSENT)

    def write(self, keyring: Keyring, found: Found) -> Found:
        """Replace the one that was ``found``, durably; what is kept then, a revision later.

        Raises Conflict if another process was quicker, DiskTrouble, TooLarge, or as Kek.wrap where
        a key is new; then the old one stands.
        """
        return self._put(keyring, found.at)

    def restore(self, keyring: Keyring, found: Found | None) -> Found:
        """Have one in the place of whatever is there; what cannot be read (no ``found``) is kept.

        Raises as write(), and as Document.set_aside.
        """
        if found is not None:
            return self._put(keyring, found.at)
        data, after = self._sealed(keyring)  # else what is there stays where it is
        if self._document.revision() != ABSENT:
            self._document.set_aside()
        return self._written(data, after, ABSENT)

    def elsewhere(self, document: Document, mark: Document) -> KeyringStore:
        """A store of the same keyring under the same KEKs, in other documents."""
        return KeyringStore(self._name, document, mark, self._keks, make_keks=self._make_keks)

    def highest(self) -> int:
        """The highest revision that was ever written; raises Unreadable."""
        return self._known()

    def _put(self, keyring: Keyring, expected: str) -> Found:
        data, after = self._sealed(keyring)
        return self._written(data, after, expected)

    def _sealed(self, keyring: Keyring) -> tuple[bytes, Keyring]:
        self._make_keks()
        return sealed(keyring, self._keks)

    def _written(self, data: bytes, after: Keyring, expected: str) -> Found:
        at = self._document.write(data, expected=expected)
        self._least = after.revision
        # A crash before this leaves a lower mark than the keyring's revision, never a higher one.
        self._mark.write(json.dumps({"revision": after.revision}).encode())
        return Found(Opened(after), at)

    def _content(self) -> tuple[Content | None, int]:
        """The document, None if it was never written, and the least revision it may have."""
        least = self._known()  # first: another process may write both between the two reads
        try:
            content = self._document.read()
        except InvalidInput as error:  # something that is no file stands in its place
            raise Unreadable(error.message) from None
        if content is None and least:
            raise KeyringLost(
                f"{self._document.place} is gone, and the keyring {self._name} has been at "
                f"revision {least}"
            )
        return content, least

    def _known(self) -> int:
        """The highest revision that this process or any other knows of."""
        content = self._mark.read()
        if content is None:
            return self._least
        try:
            match parsed(content.data):
                case {"revision": int(revision)}:
                    return max(revision, self._least)
        except ValueError:
            pass
        raise Unreadable(
            f"{self._mark.place} does not say the highest revision of the keyring {self._name}",
            hint=f"check that {self._document.place} is the newest, then delete the former",
        )
