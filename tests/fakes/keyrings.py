"""A keyring with applications that use it, over a state that outlives processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from certrotd.clock import ManualClock
from certrotd.consumers.port import Answer, Expected
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.evidence import Count
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.keys.case import Case
from certrotd.keys.history import attempts_of
from certrotd.keys.keyring_store import KeyringStore
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.keys.rotation import KeyringRotation, Wanted, asked_for
from certrotd.keys.world import Consumer, Inlets, World
from certrotd.lifecycle.decision import DAEMON, Asked, Decision
from certrotd.lifecycle.report import Report
from certrotd.lifecycle.runner import Runner
from certrotd.outputs.port import Imported
from certrotd.rotation.engine import Event
from certrotd.state.ports import History, Journal, Lease
from tests.fakes.audit import MemoryAudit
from tests.fakes.kek import MemoryKek
from tests.fakes.state import MemoryState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PATH = Path("/etc/app/keys.json")


class Killed(BaseException):
    """The process is gone: nothing of it answers this."""


@dataclass
class Shelf:
    """An output in memory: the delivery that stands there, as an application reads it."""

    name: str = f"tink {PATH}"
    delivered: Delivery | None = None
    stranger: bool = False
    full: bool = False
    writes: int = 0
    own: Imported | None = None

    def absent(self) -> bool:
        return self.delivered is None and not self.stranger and self.own is None

    def strange(self, keyring: Keyring) -> str | None:
        del keyring
        return "a key is in it that the keyring does not have" if self.stranger else None

    def imported(self) -> Imported | None:
        return self.own

    def differs(self, delivery: Delivery) -> str | None:
        if self.own is not None:
            there = [each.material for each in self.own.keys]
            same = there == [each.key.material for each in delivery.keys]
            return None if same else "it has other keys"
        same = self.delivered is not None and self.delivered.hash == delivery.hash
        return None if same else "it is of another delivery"

    def deliver(self, delivery: Delivery) -> Mapping[Path, str]:
        if self.full:
            raise Transient("No space left on device")
        self.delivered = delivery
        self.writes += 1
        return self.digests()

    def set_aside(self, mark: str) -> Sequence[Path]:
        self.stranger, self.own = False, None
        return [Path(f"{PATH}.{mark}")]

    def digests(self) -> Mapping[Path, str]:
        if self.delivered is None:
            return {}
        return {PATH: hashlib.sha256(self.delivered.hash.encode()).hexdigest()}

    def problems(self, delivery: Delivery | None, *, dry: bool = False) -> Sequence[Failure]:
        del delivery, dry
        return [NeedsOperator("the disk is full")] if self.full else []

    def sweep(self) -> None:
        """It leaves nothing."""


@dataclass
class App:
    """An application: it reads the shelf when its target is applied, and says what it has.

    ``deaf`` does not read it when it is told to; ``broken`` cannot be told; ``silent`` does not
    answer.
    """

    name: str
    shelf: Shelf
    has: Delivery | None = None
    deaf: bool = False
    broken: bool = False
    silent: bool = False
    applied: int = 0

    def check(self) -> None:
        """As Applied.check."""

    def apply(self) -> None:
        """As Applied.apply."""
        self.applied += 1
        if self.broken:
            raise NeedsOperator(f"{self.name} does not restart")
        if not self.deaf:
            self.has = self.shelf.delivered

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask."""
        if self.silent or self.has is None:
            return Answer(False, "does not answer")
        said = hashlib.sha256(self.has.hash.encode()).hexdigest()
        return Answer(said in expected.hashes, "has other keys")

    @property
    def reads(self) -> frozenset[int]:
        """The versions it can decrypt."""
        return frozenset(each.key.version for each in self.has.keys) if self.has else frozenset()

    @property
    def writes(self) -> int | None:
        """The version it encrypts with."""
        return self.has.active if self.has else None


@dataclass
class KeyBench:
    """One keyring, its output, its applications, and processes that rotate it."""

    policy: Policy = field(
        default_factory=lambda: Policy(
            "orders", outputs=(f"tink {PATH}",), waves=(("worker",), ("web",)), escrows=True
        )
    )
    state: MemoryState = field(default_factory=MemoryState)
    clock: ManualClock = field(default_factory=lambda: ManualClock(BEGIN))
    shelf: Shelf = field(default_factory=Shelf)
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    backups: list[Keyring] = field(default_factory=list)
    census: dict[int, dict[str, Count]] = field(default_factory=dict)
    drilled: datetime | None = None
    patience: float = 5.0
    events: list[Event] = field(default_factory=list)
    watch: Callable[[], None] = lambda: None
    ids: Iterable[int] = field(default_factory=count)
    draws: Iterable[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.kek = MemoryKek(self.clock)
        names = [name for wave in self.policy.waves for name in wave]
        self.apps = {name: App(name, self.shelf) for name in names}

    # what a keyring of the configuration is

    @property
    def journal(self) -> Journal:
        return self.state.journal(str(self.policy.id))

    @property
    def history(self) -> History:
        return self.journal.history

    @property
    def within(self) -> Mapping[str, timedelta]:
        return {}

    def store(self) -> KeyringStore:
        """That of a new process."""
        name = self.policy.name
        document, mark = (self.state.document(f"{at}/{name}") for at in ("keyrings", "marks"))
        return KeyringStore(name, document, mark, {"main": self.kek})

    def world(self) -> World:
        return World(
            name=self.policy.name,
            clock=self.clock,
            store=self.store(),
            inlets=Inlets(self._key, lambda: Material(bytes(32))),
            outlets=[self.shelf] if self.policy.outputs else [],
            consumers={name: Consumer(name, app, app) for name, app in self.apps.items()},
            escrow=self._escrow,
            record=self.audit.record,
            patience=self.patience,
            evidence=lambda version: (self.case().evidence(version), self.policy.fresh),
        )

    def lock(self) -> AbstractContextManager[Lease]:
        return self.state.lock(str(self.policy.id), f"keyring {self.policy.name}")

    def configuration(self) -> str:
        return "one"

    def look(self, *, thorough: bool = False) -> Standing:
        del thorough
        found = self.store().inspect()
        present = (self.shelf.name,) if self.shelf.stranger or self.shelf.own else ()
        if found is None:
            return Standing(present=present)
        return Standing(
            versions=found.versions,
            revision=found.revision,
            keks=found.keks,
            uses={number: each.use for number, each in found.entries.items()},
            absent=(self.shelf.name,) if self.policy.outputs and self.shelf.absent() else (),
            census=self.census,
            drilled=self.drilled,
        )

    def attempts(self) -> Attempts:
        return attempts_of(self.history, self.configuration())

    def exposed(self) -> Sequence[str]:
        """Nothing is on a disk."""
        return ()

    def problems(self, decision: Decision) -> Iterable[Failure]:
        del decision
        return self.shelf.problems(None)

    # what tests do with it

    def case(self, asked: Asked = DAEMON) -> Case:
        """Everything a decision goes by, now."""
        return Case(self.policy, self.look(), self.attempts(), self.clock.now(), asked)

    @property
    def runner(self) -> Runner:
        """That of a new process."""
        return Runner(
            self.clock,
            lambda: 0.5,
            lambda: f"rotation-{next(iter(self.ids))}",
            self._heard,
            audit=self.audit,
        )

    def rotate(self, asked: Asked = DAEMON) -> Report:
        """Whatever is due."""
        return self.runner.rotate(KeyringRotation(self), asked)

    def cancel(self) -> Report:
        """As a person asks."""
        return self.runner.cancel(KeyringRotation(self))

    def ask(self, wanted: Wanted) -> Report:
        """What a person wants."""
        return asked_for(self, self.runner, "do", wanted)

    def states(self) -> dict[int, State]:
        """The state of every version."""
        found = self.store().inspect()
        return {each.number: each.state for each in found.versions.all} if found else {}

    def tick(self, after: timedelta = timedelta(0)) -> Report:
        """What the daemon does that much later."""
        self.clock.advance(after)
        return self.rotate()

    def with_policy(self, **changes: object) -> None:
        """Another configuration of the same keyring."""
        self.policy = replace(self.policy, **changes)  # type: ignore[arg-type]

    def _key(self, keyring: Keyring) -> DataKey:
        number = keyring.versions.next_number
        secret = hashlib.sha256(str(next(iter(self.draws))).encode()).digest()
        return DataKey(number, Algorithm.AES_256_GCM, Material(secret), f"v{number}")

    def _escrow(self, keyring: Keyring) -> str:
        self.backups.append(keyring)
        return "backup"

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self.watch()
