"""Where an application's keyring comes from: a sealed document in a file, or certrotd's socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from certrotd.client.errors import SourceUnavailable
from certrotd.clock import Clock, Deadline
from certrotd.errors import Failure, InvalidInput

if TYPE_CHECKING:
    from certrotd.keyring.delivery import Delivery
    from certrotd.keyring.document import Keks, Wraps

MAX_DOCUMENT = 16 * 1024 * 1024
AGAIN = 30.0
"""Seconds until a document that could not be used is tried again, unless it changes before."""
ASK = 5.0
"""Seconds that an answer of the server may take."""


@dataclass(frozen=True)
class Held:
    """The keys of one revision, and how many messages of each version are counted there.

    ``troubles`` are KEKs that failed while another one unwrapped the keys; ``mark`` is the status
    of the file that it was read from.
    """

    delivery: Delivery
    revision: int
    used: Mapping[int, int]
    troubles: tuple[Failure, ...] = ()
    mark: tuple[int, ...] = ()


class Source(Protocol):
    """Where the keyring is."""

    @property
    def place(self) -> str:
        """In words."""
        ...

    def newer(self, held: Held | None) -> Held | None:
        """What is there, if it may differ from ``held``; never of an older revision.

        Raises a Failure.
        """
        ...


class FileSource:
    """A document as keyring/document.py writes it; what it holds is read when its status changes.

    ``name`` is empty where any keyring will do; once read, no other is taken for it.
    """

    def __init__(self, path: Path, keks: Keks | Wraps, name: str, clock: Clock) -> None:
        self._path = path
        self._keks = keks
        self._name = name
        self._clock = clock
        self._failed: tuple[int, ...] = ()
        self._failure: Failure | None = None
        self._again = 0.0

    @property
    def place(self) -> str:
        return str(self._path)

    def newer(self, held: Held | None) -> Held | None:
        """As Source.newer; raises Unreadable, KeksUnavailable, SourceUnavailable, DiskTrouble."""
        present = self._present()
        if held is not None and present == held.mark:
            return None
        waiting = present == self._failed and self._clock.monotonic() < self._again
        if held is not None and waiting and self._failure is not None:
            raise self._failure
        try:
            return self._opened(held.revision if held else 0)
        except Failure as failure:
            self._failed, self._failure = present, failure
            self._again = self._clock.monotonic() + AGAIN
            raise

    def _present(self) -> tuple[int, ...]:
        try:
            return _mark(os.stat(self._path))
        except OSError as error:
            raise SourceUnavailable(
                f"the keyring {self._path} cannot be had: {error.strerror}",
                hint="restore it, or let this process read it",
            ) from None

    def _opened(self, least: int) -> Held:
        from certrotd.files.reading import read_status
        from certrotd.keyring.delivery import Delivery
        from certrotd.keyring.document import GIVEN, OWN, Unreadable, claimed, opened

        try:
            data, status = read_status(self._path, limit=MAX_DOCUMENT)
        except FileNotFoundError:  # it went between the two looks
            raise SourceUnavailable(f"the keyring {self._path} is gone") from None
        except InvalidInput as error:
            raise Unreadable(error.message) from None
        name, wrapped_by = claimed(data, self.place)
        keks = self._keks
        if not isinstance(keks, Mapping):
            keks = dict.fromkeys(wrapped_by, keks)
        found = opened(
            data,
            keks,
            name=self._name or name,
            place=self.place,
            least=least,
            uses=(OWN, GIVEN),
        )
        self._name = name
        keyring = found.keyring
        used = {number: entry.use.messages for number, entry in keyring.entries.items()}
        delivery = Delivery.of(keyring)
        return Held(delivery, keyring.revision, used, found.troubles, _mark(status))


class SocketSource:
    """The server of certrotd at the socket ``path``."""

    def __init__(self, path: Path, name: str, clock: Clock) -> None:
        self._path = path
        self._name = name
        self._clock = clock

    @property
    def place(self) -> str:
        return f"unix:{self._path}"

    def newer(self, held: Held | None) -> Held | None:
        """As Source.newer; raises SourceUnavailable, NotPermitted, Replayed or InvalidInput."""
        from certrotd.client.asking import ask
        from certrotd.keyring.document import Renamed, Replayed
        from certrotd.keyserver.wire import provided

        known = (held.delivery.hash, held.revision) if held else ("", 0)
        request = {"op": "keyring", "keyring": self._name, "have": known[0], "revision": known[1]}
        answer = ask(self._path, request, Deadline(self._clock, ASK))
        if answer.get("unchanged") is True and held is not None:
            return None
        try:
            found = provided(answer)
        finally:
            answer.clear()  # what reports errors may show the variables of every call
        if found.delivery.keyring != self._name:
            raise Renamed(f"{self.place} gives another keyring than {self._name}")
        if held is not None and found.revision < held.revision:
            raise Replayed(
                f"{self.place} gives revision {found.revision} of {self._name}, and revision "
                f"{held.revision} was there before"
            )
        return Held(found.delivery, found.revision, found.used)


def _mark(status: os.stat_result) -> tuple[int, ...]:
    """What differs for any two files that were at a path, as far as the file system tells."""
    times = status.st_mtime_ns, status.st_ctime_ns
    return (status.st_dev, status.st_ino, status.st_size, *times)
