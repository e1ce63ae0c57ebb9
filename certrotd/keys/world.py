"""What the rotation of a keyring acts upon: its store, outputs and consumers, as small ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from certrotd.audit.record import Happened
from certrotd.clock import Clock
from certrotd.consumers.port import Acknowledgement
from certrotd.errors import Failure
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.evidence import Evidence, Freshness
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import DataKey, Material
from certrotd.keyring.states import Version, Versions
from certrotd.keys.archive import Archive
from certrotd.keys.keyring_store import Found, KeyringStore, NoKeyring
from certrotd.keys.reencrypting import Reencryptable
from certrotd.keys.workforce import Workforce
from certrotd.outputs.port import Imported
from certrotd.rotation.step import JSON
from certrotd.state.ports import Conflict
from certrotd.window import Window

T = TypeVar("T")
TRIES = 40
NAP = 0.05
"""A document is not waited for: while another of its directory is written, it is a conflict."""


class Outlet(Protocol):
    """One output where it is: files that applications read their keys from."""

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    def absent(self) -> bool:
        """Whether nothing is at its paths; raises Failure."""
        ...

    def imported(self) -> Imported | None:
        """The keys that an application has there, None if none; raises Failure."""
        ...

    def strange(self, keyring: Keyring) -> str | None:
        """What in it is not of the keyring, in words; None if nothing is. Raises Failure."""
        ...

    def differs(self, delivery: Delivery) -> str | None:
        """How what stands there is not that delivery; None if it is. Raises Failure."""
        ...

    def deliver(self, delivery: Delivery) -> Mapping[Path, str]:
        """Have it say that; the SHA-256 of each file, in hex. Raises Failure, and is repeatable."""
        ...

    def set_aside(self, mark: str) -> Sequence[Path]:
        """Rename its files, with ``mark`` at their end; where they are then. Raises Failure."""
        ...

    def digests(self) -> Mapping[Path, str]:
        """The SHA-256 of each file as it is now; raises Failure."""
        ...

    def problems(self, delivery: Delivery | None, *, dry: bool = False) -> Sequence[Failure]:
        """Everything that would keep it from being written."""
        ...

    def sweep(self) -> None:
        """Remove what a crash left."""
        ...


class Applied(Protocol):
    """As certs.ports.Target: something that makes an application read its files again."""

    def check(self) -> None: ...

    def apply(self) -> None: ...


@runtime_checkable
class Proving(Protocol):
    """A target that is told which keys it is told for, and shows whether its application has them.

    ``hashes`` has that of a delivery by the id of its keyring.
    """

    def apply_of(self, hashes: Mapping[str, str]) -> None:
        """As Applied.apply; what was told of these already is only waited for."""
        ...

    def revert_to(self, hashes: Mapping[str, str]) -> None:
        """Undo what apply_of() began, now that the outputs say this again; repeatable."""
        ...

    def lacks(self, hashes: Mapping[str, str]) -> str | None:
        """What of the application does not have them yet, in words; raises Failure."""
        ...


class Application(Protocol):
    """An application that holds one key: stopped and started as a whole."""

    @property
    def within(self) -> float:
        """How many seconds after its start it may take until it reads what is stored."""
        ...

    def check(self) -> None:
        """Whether it runs and could be stopped; raises Failure."""
        ...

    def stop(self) -> None:
        """Have it stop, or nothing if it is stopped; raises Failure."""
        ...

    def start(self) -> None:
        """Have it run, or nothing if it does; raises Failure."""
        ...

    def stopped(self) -> bool | None:
        """Whether it is stopped, None if nobody can tell; raises Failure."""
        ...

    def reads(self) -> str | None:
        """None if it reads what is stored; else why that is not shown, in words."""
        ...


def _nothing_shown(_version: Version) -> tuple[Evidence, Freshness]:
    return Evidence(frozenset(), {}, {}, None), Freshness()


@dataclass(frozen=True)
class Consumer:
    """An application: what makes it read its keys again, and how it confirms that it did."""

    name: str
    target: Applied | None = None
    acknowledgement: Acknowledgement | None = None
    alone: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Inlets:
    """Where new secrets come from: the next key of a keyring, and the seal of a new one."""

    key: Callable[[Keyring], DataKey]
    seal: Callable[[], Material]


@dataclass(frozen=True)
class World:
    """What one rotation acts upon; ``fence`` raises Fenced and comes before every effect.

    ``escrow`` backs the keyring up, and says where, ``archive`` is where; None without a backup.
    ``evidence`` is what is known of a version that is to be destroyed; ``record`` writes into the
    audit log. What is cut over is ``application``, within ``window``. ``expose`` counts what a
    version protects, and keeps that. ``overtaken``: something more urgent waits for what takes
    hours. A key encrypts at most so many ``messages``. ``patience`` is how many seconds an
    acknowledgement is waited for before the rotation is parked. ``workers`` re-encrypt what this
    process would, where there are any.
    """

    name: str
    clock: Clock
    store: KeyringStore
    inlets: Inlets
    outlets: Sequence[Outlet] = ()
    consumers: Mapping[str, Consumer] = field(default_factory=dict)
    datasets: Mapping[str, Reencryptable] = field(default_factory=dict)
    workers: Callable[[], Workforce] | None = None
    application: Application | None = None
    window: Window | None = None
    escrow: Callable[[Keyring], str] | None = None
    archive: Archive | None = None
    evidence: Callable[[Version], tuple[Evidence, Freshness]] = _nothing_shown
    record: Callable[[Happened], None] = lambda _happened: None
    expose: Callable[[int], Mapping[str, JSON]] = lambda _version: {}
    overtaken: Callable[[], bool] = lambda: False
    fence: Callable[[], None] = lambda: None
    patience: float = 5.0
    messages: int = 2**32

    def found(self) -> Found:
        """The keyring as it is kept; raises NeedsOperator if it was never written."""
        found = self.store.read()
        if found is None:
            raise NoKeyring(self.name)
        return found

    def keyring(self) -> Keyring:
        """As found()."""
        return self.found().keyring

    def move(self, change: Callable[[Versions], Versions]) -> Keyring:
        """Have the versions in the states that ``change`` makes of them; raises as the store."""
        return self.change(lambda keyring: keyring.moved(change(keyring.versions)))

    def create(self, make: Callable[[], Keyring]) -> Found:
        """Write the keyring that ``make`` gives where there was never one; raises as the store."""
        keyring = make()

        def put() -> Found:
            self.fence()
            return self.store.create(keyring)

        return self._tried(put)

    def change(self, change: Callable[[Keyring], Keyring]) -> Keyring:
        """Replace the keyring by what ``change`` makes of it, read anew if another was quicker."""
        return self._tried(lambda: self._change(change))

    def _tried(self, write: Callable[[], T]) -> T:
        for _ in range(TRIES - 1):
            try:
                return write()
            except Conflict:
                self.clock.sleep(NAP)
        return write()

    def _change(self, change: Callable[[Keyring], Keyring]) -> Keyring:
        found = self.found()
        after = change(found.keyring)
        if after is found.keyring:
            return after
        self.fence()
        return self.store.write(after, found).keyring
