"""From the configuration to certificates that can be looked at and rotated.

What only rotating needs — adapters, and the libraries behind them — is loaded when the first
rotation asks for it: a listing of certificates is a matter of files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.certs.inventory import Inventory
from certrotd.certs.managed import as_remembered
from certrotd.certs.policy import COPIES, KIND, Policy
from certrotd.certs.wiring.policies import Policies, authorities
from certrotd.clock import Clock, Deadline
from certrotd.config.context import Surroundings
from certrotd.config.load import load
from certrotd.config.model import Certificate, Config
from certrotd.errors import Failure
from certrotd.files.disktrouble import DiskTrouble
from certrotd.id import Id
from certrotd.pki.generation import Generation, Standing
from certrotd.rotation.unexpected import as_failure
from certrotd.state.check import unwritable
from certrotd.state.directory import StateDirectory
from certrotd.state.format import require_current
from certrotd.state.lock import NoLease
from certrotd.state.ports import History, Lease
from certrotd.stores.copies import displaced
from certrotd.stores.local import LocalStore

if TYPE_CHECKING:
    from certrotd.audit.log import AuditLog
    from certrotd.certs.limits.budget import Budget
    from certrotd.certs.wiring.adapters import Adapters, AskedCa
    from certrotd.certs.wiring.shared_targets import Groups
    from certrotd.certs.world import World

KINDS = (KIND,)
"""What is managed."""
AUDIT_LOG = "the audit log"
LEFTOVERS = "what a kill left"


class Site:
    """One configuration wired up; adapters are shared by all its rotations.

    Of a ``dry`` one nothing is written, locks and adapters included.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        command: str,
        listen: Callable[[str], None] = lambda _line: None,
        dry: bool = False,
        audit_damaged: Callable[[str], None] = lambda _why: None,
        ca_time: Callable[[datetime], None] = lambda _moment: None,
        asked_ca: AskedCa = lambda _subject, _issuer, _failure: None,
    ) -> None:
        self._dry = dry
        self.config = config
        self.clock = clock
        self._listen = listen
        self._audit_damaged = audit_damaged
        self._ca_time = ca_time
        self._asked_ca = asked_ca
        self._command = command
        self.state = StateDirectory(config.state_dir, command=command, now=clock.now)
        self.store = LocalStore(config.store_dir)
        self._adapters: Adapters | None = None
        self._adapters_lock = threading.Lock()
        self._flying: frozenset[str] | None = None
        self._authorities = authorities(config)
        self._budgets: dict[str, Budget | None] = {}
        policies = Policies(config)
        certificates = [_Managed(self, each, policies.of(each)) for each in config.certificates]
        self.inventory = Inventory(certificates, config.concurrency)

    def close(self) -> None:
        """Let go of sockets and threads of the adapters that have any."""
        if self._adapters is not None:
            self._adapters.close()

    def problems(self) -> Iterator[Failure]:
        """What would keep any rotation from keeping its books; nothing is changed."""
        for problem in self.state.problems(KINDS):
            yield problem
            return
        if (hindered := unwritable(self.state.path, self.config.store_dir)) is not None:
            yield hindered

    def prepare(self) -> None:
        """Make the state directory, and look after it; only what writes there needs it.

        Raises as StateDirectory.prepare() does.
        """
        if words := self.state.prepare():
            self._listen(words)
        for what, job in ((AUDIT_LOG, self.check_audit), (LEFTOVERS, self.sweep)):
            try:
                job()
            except (Failure, OSError) as error:
                self._listen(f"{what}: {as_failure(error, f'look after {what}')}")

    def check_audit(self) -> None:
        """Record it now if somebody has been at the audit log; raises DiskTrouble or LockHeld."""
        self.audit.check()

    def sweep(self) -> None:
        """Remove the temporary files that a kill left in the state; the store sweeps itself.

        Raises DiskTrouble.
        """
        self.state.sweep()

    @cached_property
    def groups(self) -> Groups:
        """Which certificates are being rotated, and are told of together."""
        from certrotd.certs.wiring.shared_targets import Groups

        return Groups()

    @cached_property
    def audit(self) -> AuditLog:
        """Where every rotation is written down; one for all threads, which queue in it."""
        from certrotd.audit.log import AuditLog

        return AuditLog(
            self.config.state_dir / "audit",
            clock=self.clock,
            command=self._command,
            damaged=self._audit_damaged,
        )

    def budget(self, issuer: str) -> Budget | None:
        """What the issuer's account may still order; None where nothing is limited."""
        with self._adapters_lock:
            if issuer not in self._budgets:
                self._budgets[issuer] = self._new_budget(issuer)
            return self._budgets[issuer]

    def draw(self) -> float:
        """A random number in [0, 1)."""
        import random

        return random.random()  # noqa: S311  # spreads load; nothing secret depends on it

    def new_id(self) -> str:
        """A rotation's id: sortable by time, unique."""
        import secrets

        return f"{self.clock.now():%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"

    def in_flight(self, subject: Id) -> bool:
        """Whether a rotation of it is under way or waits to be finished.

        As it was when it was asked first; raises DiskTrouble.
        """
        if self._flying is None:
            self._flying = self.state.in_flight()
        return str(subject) in self._flying

    def flying(self, subject: Id) -> bool:
        """As ``in_flight``, as it is now."""
        return self.state.flying(str(subject))

    def unlisted(self) -> Failure | None:
        """Why nobody knows what is in flight; None if it can be known."""
        try:
            self.state.in_flight()
        except DiskTrouble as failure:
            return failure
        return None

    @cached_property
    def awaiting(self) -> bool:
        """Whether any placeholder is to be put in place before anything else."""
        asking = [each for each in self.inventory.certificates if each.policy.bootstraps]
        return any(
            row.standing.live is None
            for row in self.inventory.look(
                asking, now=self.clock.now(), in_flight=lambda _subject: False
            )
        )

    def _new_budget(self, issuer: str) -> Budget | None:
        from certrotd.certs.limits.budget import Budget, DocumentBudgetStore
        from certrotd.certs.limits.configured import limits_of

        limits = limits_of(self.config.issuers[issuer])
        if limits is None:
            return None
        document = self.state.document(f"budget/{issuer}")
        return Budget(limits, DocumentBudgetStore(document, self._listen), self.clock)

    def world(self, entry: Certificate) -> World:
        """What one rotation of the certificate acts on."""
        return self.adapters().world(entry)

    def adapters(self) -> Adapters:
        """The adapters of this configuration."""
        with self._adapters_lock:
            if self._adapters is None:
                from certrotd.certs.wiring.adapters import Adapters

                self._adapters = Adapters(
                    self.config,
                    self.store,
                    self.clock,
                    self.lock,
                    self.budget,
                    self._listen,
                    self._surroundings,
                    groups=self.groups,
                    asked_ca=self._asked_ca,
                    dry=self._dry,
                )
            return self._adapters

    def _surroundings(self, issuer: str) -> Surroundings:
        def record(event: str, **details: Any) -> None:
            from certrotd.audit.record import Happened

            self.audit.record(Happened(event, f"issuer:{issuer}", details=details))

        return Surroundings(partial(self.issued, issuer), record, self._listen, self._ca_time)

    def issued(self, issuer: str) -> list[str]:
        """The certificates, configured or not, of which a generation of that CA is live."""
        ours = issuer, self._authorities[issuer]
        metas = ((name, self.store.look(name).live) for name in self.store.names())
        return [
            name
            for name, live in metas
            if live and live.meta and (live.meta.issuer, live.meta.authority) == ours
        ]

    def configuration(self, entry: Certificate) -> str:
        """As Managed.configuration: the entry, and what it refers to."""
        import hashlib

        from pydantic_core import to_json

        config = self.config
        solvers = config.solvers if entry.solver is None else {"": config.solvers[entry.solver]}
        parts = (
            *(entry, config.issuers[entry.issuer], dict(solvers), config.dns),
            [config.targets[use.target] for use in entry.targets],
        )
        return hashlib.sha256(to_json(parts, fallback=str)).hexdigest()[:16]

    def lock(
        self, name: str, what: str, wait: float | None, *, shared: bool = False
    ) -> AbstractContextManager[Lease]:
        """The lock of that name; ``what`` it protects, in words, and seconds to wait for it."""
        if self._dry:
            return nullcontext(NoLease())
        deadline = Deadline(self.clock, wait) if wait is not None else None
        return self.state.lock(name, what, wait=deadline, shared=shared)


class _Managed:
    """One of a site's certificates, of which there may be many: nothing that can be made anew."""

    __slots__ = ("_entry", "_site", "journal", "policy")

    def __init__(self, site: Site, entry: Certificate, policy: Policy) -> None:
        self._site = site
        self._entry = entry
        self.policy = policy
        self.journal = site.state.journal(str(policy.id))

    def world(self) -> World:
        return self._site.world(self._entry)

    @property
    def history(self) -> History:
        return self.journal.history

    @contextmanager
    def lock(self) -> Iterator[Lease]:
        name, targets = self.policy.name, self.policy.targets
        with (
            self._site.lock(str(self.policy.id), f"certificate {name}", None) as lease,
            self._site.groups.rotating(name, targets),
        ):
            yield lease

    def look(self, *, thorough: bool = False) -> Standing:
        found = self._site.store.look(self.policy.name, thorough=thorough)
        found = as_remembered(found, self.history)
        if COPIES in found.state.targets and self._entry.install:
            return replace(found, displaced=displaced(self._entry.install, found.state.copies))
        return found

    def configuration(self) -> str:
        return self._site.configuration(self._entry)

    def generation(self, number: int, /) -> Generation:
        return self._site.store.generation(self.policy.name, number)


@contextmanager
def open_site(
    path: Path,
    *,
    clock: Clock,
    command: str,
    listen: Callable[[str], None] = lambda _line: None,
    dry: bool = False,
    writes: bool = False,
) -> Iterator[Site]:
    """The site of a configuration file, closed at the end of the block.

    Raises ConfigInvalid, and NeedsOperator unless it ``writes`` (prepare() does) and the state
    directory has another format.
    """
    config = load(path).config
    if dry or not writes:
        require_current(config.state_dir)
    site = Site(
        config,
        clock=clock,
        command=command,
        listen=listen,
        dry=dry,
        audit_damaged=lambda why: listen(f"the audit log is damaged: {why}"),
    )
    try:
        yield site
    finally:
        site.close()
