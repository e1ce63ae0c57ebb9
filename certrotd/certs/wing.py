"""The certificates of one configuration, as a wing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certrotd.certs.decision import Adopt, Bootstrap, CatchUp, Deploy, Renew, Revoke, Sweep
from certrotd.certs.limits.accounts import ConfiguredAccounts
from certrotd.certs.managed import as_remembered
from certrotd.certs.placeholders import Placeholders
from certrotd.certs.policy import COPIES, KIND, Policy, id_of
from certrotd.certs.subject import CertificateSubject
from certrotd.certs.wiring.policies import Policies, authorities
from certrotd.certs.wiring.requests import digest_now
from certrotd.config.model import Certificate, Config
from certrotd.errors import Failure, InvalidInput
from certrotd.id import Id
from certrotd.lifecycle.wing import Check, Premises, Ration, Service, Terms
from certrotd.pki.generation import Behind, Generation, Standing
from certrotd.pki.names import canonical, covers
from certrotd.state.ports import History, Lease
from certrotd.stores.configured import Stores
from certrotd.stores.copies import displaced

if TYPE_CHECKING:  # what only rotating needs is loaded when the first rotation asks for it
    from certrotd.certs.compromised_keys import CompromisedKeys
    from certrotd.certs.deleting import User
    from certrotd.certs.limits.sliding_windows import Over
    from certrotd.certs.wiring.adapters import Adapters
    from certrotd.certs.wiring.shared_targets import Groups
    from certrotd.certs.world import World
    from certrotd.config.context import Surroundings
    from certrotd.lifecycle.runner import Runner
    from certrotd.lifecycle.subject import DeletionForeseen

ACTS = (Renew, Deploy, Adopt, Bootstrap, CatchUp, Revoke, Sweep)


def build(config: Config, premises: Premises) -> Certificates:
    """As Build."""
    return Certificates(config, premises)


def terms() -> Terms:
    """What happens to certificates, and what checks find."""
    from certrotd.certs.findings import FindingKind

    return Terms(tuple(each.act for each in ACTS), tuple(FindingKind))


class Certificates:
    """Wing, of certificates; adapters are shared by all rotations."""

    kind = KIND

    def __init__(self, config: Config, premises: Premises) -> None:
        self.config = config
        self.premises = premises
        self.slots = config.concurrency
        self.stores = Stores(config, premises.connect)
        self.accounts = ConfiguredAccounts(config, premises)
        self._adapters: Adapters | None = None
        self._adapters_lock = threading.Lock()
        self._authorities = authorities(config)
        policies = Policies(config)
        entries = ((entry, policies.of(entry)) for entry in config.certificates)
        managed = [ConfiguredCertificate(self, entry, policy) for entry, policy in entries]
        self._placeholders = Placeholders(managed)
        self.behind: dict[str, Mapping[str, Sequence[Behind]]] = {}
        """Who has an older copy, by certificate and target, as it was seen last."""
        self.subjects = [CertificateSubject(each, self.accounts) for each in managed]

    @property
    def terms(self) -> Terms:
        return terms()

    @property
    def rations(self) -> Mapping[str, Callable[[], Ration | None]]:
        issuers = {name for each in self.subjects for name in each.managed.policy.issuers}
        return {issuer: partial(self.accounts.budget, issuer) for issuer in sorted(issuers)}

    @property
    def directories(self) -> Sequence[Path]:
        return [self.config.store_dir]

    def covering(self, name: str) -> Sequence[Id]:
        """The certificates for a DNS name; a wildcard's come last."""
        policies = [each.managed.policy for each in self.subjects]
        try:
            host = canonical(name)
        except InvalidInput:
            host = ""
        return [each.id for each in policies if host in each.names] or [
            each.id for each in policies if covers(each.names, host)
        ]

    def prepare(self, runner: Runner) -> None:
        self._placeholders.put(runner)

    def serve(self, report: Callable[[str], None]) -> Service | None:
        """What hears of parts of targets that start; services have certificates from files."""
        trailing = [each.managed for each in self.subjects if each.managed.policy.trailing]
        if not trailing:
            return None
        from certrotd.certs.following import Following, sources_of

        return Following(
            sources_of(trailing, self.adapters().target),
            in_flight=self.premises.in_flight,
            wake=self._wake,
            report=report,
        )

    def _wake(self, subject: Id) -> None:
        """Have it decided about at once; raises DiskTrouble."""
        self.premises.state.wake(str(subject))

    def checks(self) -> Sequence[Check]:
        from certrotd.certs.checks import Means, checks_of
        from certrotd.certs.persistent_records import RecordsCheck
        from certrotd.observe.chain import Examiner
        from certrotd.pki.order import DNS_PERSIST_01

        config, premises = self.config, self.premises
        every, examiner = config.watch_every.total_seconds(), Examiner(premises.clock)
        means = Means(every, premises.in_flight, examiner, premises.clock, self._wake)
        managed = {each.id: each.managed for each in self.subjects}
        persistent = (each for each in config.certificates if each.challenge == DNS_PERSIST_01)
        return [
            *checks_of(config.watch, managed, means),
            *(RecordsCheck(managed[id_of(each.name)], means) for each in persistent),
        ]

    def close(self) -> None:
        if self._adapters is not None:
            self._adapters.close()

    @cached_property
    def compromised_keys(self) -> CompromisedKeys:
        """Which keys others know, of all certificates of this state."""
        from certrotd.certs.compromised_keys import CompromisedKeys

        premises = self.premises
        document = premises.state.document("compromised")
        return CompromisedKeys(document, premises.remark, dry=premises.dry)

    @cached_property
    def groups(self) -> Groups:
        """Which certificates are being rotated, and reload their targets together."""
        from certrotd.certs.wiring.shared_targets import Groups

        return Groups()

    @cached_property
    def awaiting(self) -> bool:
        """Whether any placeholder is to be put in place before anything else."""
        return any(_missing(each) for each in self.subjects if each.managed.policy.bootstraps)

    def world(self, entry: Certificate) -> World:
        """What one rotation of the certificate acts on."""
        world = self.adapters().world(entry)
        world.awaiting = self.premises.dry and self.awaiting
        world.note_behind = partial(self.behind.__setitem__, entry.name)
        world.known_compromised = self.compromised_keys.of
        world.note_compromised = self._note_compromised
        return world

    def leftover(self, name: str) -> CertificateSubject | None:
        """As Leftovers.leftover."""
        from certrotd.certs.wiring.unconfigured import entry_of

        in_flight = self.premises.state.in_flight()
        entry = entry_of(name, self.config, self.stores, in_flight)
        if entry is None:
            return None
        managed = ConfiguredCertificate(self, entry, Policies(self.config).of(entry))
        return CertificateSubject(managed, self.accounts)

    def users(self, managed: ConfiguredCertificate, found: Standing) -> Iterator[User]:
        """Who is seen to use a certificate: of its targets, of nginx, of what is watched."""
        from certrotd.certs.checks import endpoint_of
        from certrotd.certs.deleting import users_of

        world, adapters = managed.world(), self.adapters()
        bounds = [world.target(name) for name in managed.policy.targets]
        own = [each for bound in bounds if bound is not None for each in bound.endpoints]
        targets = [(name, partial(adapters.target, name)) for name in self.config.targets]
        return users_of(found, world, [*own, *map(endpoint_of, self.config.watch)], targets)

    def known_as(self, certificate: bytes) -> tuple[str, int] | None:
        """As Revokes.known_as."""
        from certrotd.certs.revoking_files import generation_with
        from certrotd.pki.facts import facts_of, parse_certificates

        facts = facts_of(parse_certificates(certificate)[0])
        all_managed = [each.managed for each in self.subjects]
        return generation_with(facts, all_managed, self.premises.remark)

    def revoke_file(
        self, certificate: bytes, key: bytes | None, *, issuer: str | None, reason: str, by: str
    ) -> str:
        """As Revokes.revoke_file."""
        from certrotd.certs.revoking_files import revoke_file

        return revoke_file(
            *(certificate, key),
            issuer=issuer,
            reason=reason,
            by=by,
            revokers=self.adapters().revokers,
            audit=self.premises.audit(),
            note_compromised=self._note_compromised,
        )

    def _note_compromised(self, key: str, of: str) -> None:
        self.compromised_keys.add(key, of, now=self.premises.clock.now())

    def adapters(self) -> Adapters:
        """The adapters of this configuration."""
        with self._adapters_lock:
            if self._adapters is None:
                from certrotd.certs.wiring.adapters import Adapters

                self._adapters = Adapters(
                    self.config,
                    self.stores,
                    self.premises,
                    self.groups,
                    self.accounts.budget,
                    self._surroundings,
                )
            return self._adapters

    def _surroundings(self, issuer: str) -> Surroundings:
        from certrotd.config.context import Surroundings

        def record(event: str, **details: Any) -> None:
            from certrotd.audit.record import Happened

            self.premises.audit().record(Happened(event, f"issuer:{issuer}", details=details))

        issued = partial(self.issued, issuer)
        return Surroundings(issued, record, self.premises.remark, self.premises.heard_time)

    def issued(self, issuer: str) -> list[str]:
        """The certificates, configured or not, of which a generation of that CA is live."""
        ours = issuer, self._authorities[issuer]
        metas = ((name, self.stores.of(name).look(name).live) for name in self.stores.names())
        return [
            name
            for name, live in metas
            if live and live.meta and (live.meta.issuer, live.meta.authority) == ours
        ]

    def configuration(self, entry: Certificate) -> str:
        """As Managed.configuration: the entry, and what it refers to, its request too."""
        import hashlib

        from pydantic_core import to_json

        config = self.config
        solvers = config.solvers if entry.solver is None else {"": config.solvers[entry.solver]}
        parts = (
            *(entry, [config.issuers[name] for name in entry.issuers], dict(solvers), config.dns),
            [config.targets[use.target] for use in entry.targets],
            *([digest_now(entry.csr)] if entry.csr is not None else ()),
        )
        return hashlib.sha256(to_json(parts, fallback=str)).hexdigest()[:16]


class ConfiguredCertificate:
    """Managed, of which there may be many: nothing that can be made anew."""

    __slots__ = ("_entry", "_policy", "_wing", "journal")

    def __init__(self, wing: Certificates, entry: Certificate, policy: Policy) -> None:
        self._wing = wing
        self._entry = entry
        self._policy = policy
        self.journal = wing.premises.state.journal(str(policy.id))

    @property
    def policy(self) -> Policy:
        """As Managed.policy; of a key that is elsewhere, with what the file of its request says."""
        if self._entry.csr is None:
            return self._policy
        return replace(self._policy, request=digest_now(self._entry.csr))

    def world(self) -> World:
        return self._wing.world(self._entry)

    @property
    def history(self) -> History:
        return self.journal.history

    @contextmanager
    def lock(self) -> Iterator[Lease]:
        from certrotd.certs.ports import Locked

        name, targets, wing = self.policy.name, self.policy.targets, self._wing
        store: object = wing.stores.of(name)
        with (
            wing.premises.lock(str(self.policy.id), f"certificate {name}", None) as lease,
            store.alone(name) if isinstance(store, Locked) else nullcontext(),
            wing.groups.rotating(name, targets),
        ):
            yield lease

    def look(self, *, thorough: bool = False) -> Standing:
        found = self._wing.stores.of(self.policy.name).look(self.policy.name, thorough=thorough)
        found = as_remembered(found, self.history)
        if behind := self._wing.behind.get(self.policy.name):
            found = replace(found, behind=behind)
        if COPIES in found.state.targets and self._entry.install:
            return replace(found, displaced=displaced(self._entry.install, found.state.copies))
        return found

    def over(self) -> Mapping[str, datetime]:
        return self._wing.accounts.passed_over(str(self.policy.id))

    def claim(self, issuer: str, *, renewal: bool, now: datetime) -> Over | None:
        """As Managed.claim; nothing waits where there is no room, as it is not asked for again."""
        name, budget = str(self.policy.id), self._wing.accounts.budget(issuer)
        if budget is None:
            return None
        over = budget.hold(name, self.policy.names, renewal=renewal, now=now)
        if over is not None:
            budget.release(name)
        return over

    def configuration(self) -> str:
        return self._wing.configuration(self._entry)

    def deletion(self) -> DeletionForeseen:
        """As Managed.deletion."""
        from certrotd.certs.deleting import foreseen

        entry = self._entry
        return foreseen(
            self,
            copies=[str(path) for each in entry.install for path in each.paths.values()],
            hosts=[each.host for each in entry.deliver],
            in_secret=entry.store is not None,
            users=lambda found: self._wing.users(self, found),
        )

    def generation(self, number: int, /) -> Generation:
        return self._wing.stores.of(self.policy.name).generation(self.policy.name, number)


def _missing(subject: CertificateSubject) -> bool:
    try:
        return subject.managed.look().live is None
    except Failure:
        return True  # whoever looks at it meets that too, and says it
