"""Everything a rotation touches, in memory, with one chance over all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import ENOSPC
from typing import Any, TypeVar

from cryptography import x509

from certrotd.audit.record import Happened
from certrotd.certs.managed import as_remembered
from certrotd.certs.policy import COPIES, Policy
from certrotd.certs.world import Bound, World
from certrotd.clock import Clock, Deadline
from certrotd.dns.records import TxtRecord
from certrotd.errors import Failure, LockHeld, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.observe.tls import Endpoint
from certrotd.pki.generation import Standing
from certrotd.pki.keys import KeyType, PrivateKey, generate
from certrotd.pki.order import Challenge
from certrotd.rotation.engine import Event
from certrotd.state.ports import Fenced, Lease
from tests.fakes.audit import MemoryAudit
from tests.fakes.chance import CALM, Chance, Refused
from tests.fakes.dns import MemorySolver
from tests.fakes.installer import MemoryInstaller
from tests.fakes.issuer import MemoryIssuer, MemoryOrder
from tests.fakes.journal import MemoryDisk, MemoryJournal
from tests.fakes.managed import FakeManaged
from tests.fakes.prober import MemoryProber
from tests.fakes.rotator import Rotator
from tests.fakes.store import MemoryStore
from tests.fakes.target import MemoryTarget

T = TypeVar("T")


@dataclass(frozen=True)
class MemoryLease:
    """The lock of a MemoryWorld, as held by the process that was given this token."""

    world: MemoryWorld
    token: int

    def check(self) -> None:
        """As Lease.check."""
        if self.world.token != self.token:
            raise Fenced(f"the lock of {self.world.policy.name} is another's")


class MemoryWorld:
    """One certificate and what it is rotated with; every process of it goes through ``managed``.

    Targets named ``…-copies`` read the installed copies, the others the live generation. All that
    outlives a process is an attribute; what a process holds is built by ``managed`` anew, and the
    latest of it is ``in_use``. ``unanswered`` is what the issuer raises where it is refused;
    ``otherwise`` are fields of World that a test gives itself.
    """

    def __init__(self, policy: Policy, clock: Clock, chance: Chance = CALM) -> None:
        self.policy = policy
        self.clock = clock
        self.chance = chance
        self.otherwise: dict[str, Any] = {}
        self.compromised: dict[str, str] = {}
        self.store = MemoryStore(chance)
        self.installer = MemoryInstaller(chance, enabled=policy.installs)
        self.solver = MemorySolver()
        self.issuer = MemoryIssuer(clock.now, lookup=self.solver.visible)
        self.disk = MemoryDisk()
        self.journals: type[MemoryJournal] = MemoryJournal
        self.targets = {
            name: MemoryTarget(
                name, self._copies if name.endswith("-copies") else self._live, chance
            )
            for name in policy.targets
        }
        self.prober = MemoryProber(self.targets, clock, chance)
        self.audit = MemoryAudit()
        self.remarks: list[str] = []
        self.unanswered: type[Failure] = Transient
        self.adoptable: tuple[bytes, bytes] | None = None
        self.new_key: Callable[[KeyType], PrivateKey] = generate
        self.locked = False
        self.token = 0
        self.in_use: World | None = None

    def use(self, chance: Chance) -> None:
        """From now on, ask another chance; the adapters of one process ask the one of its time."""
        self.chance = chance
        self.store.chance = self.installer.chance = self.prober.chance = chance
        for target in self.targets.values():
            target.chance = chance

    def managed(self) -> FakeManaged:
        """What a new process has."""
        journal = self.journals(self.disk, self.chance)
        name = self.policy.name
        return FakeManaged(
            policy=self.policy,
            journal=journal,
            world=self._world,
            lock=self._lock,
            look=lambda *, thorough=False: self._displaced(
                as_remembered(self.store.look(name, thorough=thorough), journal.history)
            ),
            generation=lambda number: self.store.generation(name, number),
        )

    def rotator(
        self,
        *,
        new_id: Callable[[], str],
        stopping: Callable[[], bool] = lambda: False,
        listen: Callable[[Event], None] = lambda _event: None,
    ) -> Rotator:
        """A rotator without chance of its own."""
        audit = _Audit(self.audit, self.chance)
        return Rotator(self.clock, lambda: 0.5, new_id, listen, stopping, audit=audit)

    def endpoint(self, name: str) -> Endpoint:
        """Where the prober looks at a target."""
        return Endpoint(name, 443, self.policy.names[0])

    def _world(self) -> World:
        issuer = _Issuer(self.issuer, self.chance, self.unanswered)
        solver = _Solver(self.solver, self.chance)
        made = World(
            name=self.policy.name,
            clock=self.clock,
            store=self.store,
            installer=self.installer,
            issuer=lambda _name: issuer,
            solver=lambda _name: solver,
            solver_for=lambda _name, _explicit: "memory",
            dns=lambda: _Dns(self.solver, self.chance),
            target=self._bound,
            prober=self.prober,
            adoptable=lambda: self.adoptable,
            new_key=self.new_key,
            revoker=lambda _meta: issuer.revoke,
            remark=self.remarks.append,
            known_compromised=self.compromised.get,
            note_compromised=self.compromised.__setitem__,
        )
        self.in_use = replace(made, **self.otherwise)
        return self.in_use

    def _bound(self, name: str) -> Bound | None:
        target = self.targets.get(name)
        return Bound(target, (self.endpoint(name),)) if target is not None else None

    def _displaced(self, found: Standing) -> Standing:
        known = COPIES in found.state.targets and self.policy.installs
        if known and found.state.copies != self.installer.there():
            return replace(found, displaced="they were changed")
        return found

    @contextmanager
    def _lock(self) -> Iterator[Lease]:
        if self.locked:
            raise LockHeld(f"certificate {self.policy.name}", holder="another process")
        self.locked = True
        self.token += 1
        lease = MemoryLease(self, self.token)
        try:
            yield lease
        finally:
            if self.token == lease.token:
                self.locked = False  # with the process, as flock(2) goes

    def lose_lock(self) -> None:
        """The lease of whoever holds the lock has run out, as one in a cluster can."""
        self.token += 1
        self.locked = False

    def _live(self) -> tuple[bytes, bytes] | None:
        shelf = self.store.shelf(self.policy.name)
        pair = self.store.pair(self.policy.name, shelf.live) if shelf.live is not None else None
        return (pair.key, pair.chain) if pair and pair.key and pair.chain else None

    def _copies(self) -> tuple[bytes, bytes] | None:
        files = dict(self.installer.files)
        return (files["key"], files["chain"]) if len(files) == 2 else None


class _Issuer:
    def __init__(self, issuer: MemoryIssuer, chance: Chance, failure: type[Failure]) -> None:
        self._issuer = issuer
        self._chance = chance
        self._failure = failure

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> _Order:
        with _unanswered(self._failure):
            order = self._chance.act(
                "issuer: order",
                lambda: self._issuer.order(names, deadline=deadline, replaces=replaces),
            )
        return _Order(order, self._chance, self._failure)

    def resume(self, url: str, *, deadline: Deadline) -> _Order:
        with _unanswered(self._failure):
            self._chance.look("issuer: resume")
        order = self._issuer.resume(url, deadline=deadline)
        return _Order(order, self._chance, self._failure)

    def revoke(self, certificate: x509.Certificate, reason: int, key: PrivateKey | None, /) -> bool:
        del reason, key
        with _unanswered(self._failure):
            return self._chance.act("issuer: revoke", lambda: self._issuer.revoke(certificate))


class _Order:
    def __init__(self, order: MemoryOrder, chance: Chance, failure: type[Failure]) -> None:
        self._order = order
        self._chance = chance
        self._failure = failure
        self.url = order.url

    def challenges(self) -> tuple[Challenge, ...]:
        return self._order.challenges()

    def validate(self) -> None:
        with _unanswered(self._failure):
            self._chance.act("issuer: validate", self._order.validate)

    def finalize(self, csr_der: bytes) -> bytes:
        with _unanswered(self._failure):
            return self._chance.act("issuer: finalize", lambda: self._order.finalize(csr_der))


class _Solver:
    def __init__(self, solver: MemorySolver, chance: Chance) -> None:
        self._solver = solver
        self._chance = chance

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        with _unanswered():
            self._chance.act(
                "solver: present", lambda: self._solver.present(record, deadline=deadline)
            )

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        with _unanswered():
            self._chance.act(
                "solver: withdraw", lambda: self._solver.withdraw(record, deadline=deadline)
            )


class _Dns:
    def __init__(self, solver: MemorySolver, chance: Chance) -> None:
        self._solver = solver
        self._chance = chance

    def locate(self, name: str, *, deadline: Deadline) -> str:
        with _unanswered():
            self._chance.look("dns: locate")
        return name

    def wait(self, records: Sequence[TxtRecord], *, solver: str, deadline: Deadline) -> str:
        with _unanswered():
            self._chance.look("dns: wait")
        for record in records:
            if record.value not in self._solver.visible(record.name):
                raise Transient(f"{record.name} does not show {record.value}")
        return ""

    def texts(self, name: str, *, deadline: Deadline) -> Mapping[str, frozenset[str]]:
        return {"ns": frozenset(self._solver.visible(name))}

    def absent(self, record: TxtRecord, *, solver: str, deadline: Deadline) -> bool:
        return record.value not in self._solver.visible(record.name)


class _Audit:
    def __init__(self, audit: MemoryAudit, chance: Chance) -> None:
        self._audit = audit
        self._chance = chance

    def record(self, *happened: Happened) -> None:
        try:
            self._chance.act("audit: record", lambda: self._audit.record(*happened))
        except Refused:
            full = OSError(ENOSPC, "No space left on device")
            raise DiskTrouble("write the audit log", full) from None

    def unsettled(self, subject: str) -> str | None:
        return self._audit.unsettled(subject)


@contextmanager
def _unanswered(failure: type[Failure] = Transient) -> Iterator[None]:
    try:
        yield
    except Refused:
        raise failure("no answer") from None
