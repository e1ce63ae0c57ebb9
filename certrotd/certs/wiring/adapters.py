"""The adapters of one configuration: issuers, solvers, targets, and what a rotation acts on.

An entry of type ``T`` is built by the function ``build(entry, context)`` of one module, found by
its type: ``certrotd.dns.T`` for solvers, ``certrotd.targets.T`` for targets, ``certrotd.T.issuer``
for issuers; stores are found in certrotd/stores/configured.py. So a new one is a module and a
schema entry, and its libraries load when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar

from certrotd.certs.limits.budget import Budget
from certrotd.certs.limits.rate_limited_issuer import RateLimitedIssuer
from certrotd.certs.policy import id_of
from certrotd.certs.ports import Adopting, Advising, Issuer, Locked, Proving, Sealing
from certrotd.certs.target_ports import InformedRevertible, Target
from certrotd.certs.wiring.adoptable import adoptable
from certrotd.certs.wiring.reporting_issuer import ContactListener, ReportingIssuer, reported
from certrotd.certs.wiring.requests import request_in
from certrotd.certs.wiring.revokers import Revokers
from certrotd.certs.wiring.shared_targets import Groups, SharedTarget
from certrotd.certs.wiring.shelf import Shelf
from certrotd.certs.wiring.solvers import Solvers
from certrotd.certs.world import Bound, PersistentRecord, World, no_renewal_info
from certrotd.clock import Deadline
from certrotd.config.certificates import InstallEntry
from certrotd.config.context import Context, IssuerContext, Surroundings
from certrotd.config.model import Certificate, Config
from certrotd.config.probes import HandshakeEntry
from certrotd.config.stores import StoreEntry
from certrotd.errors import Failure, NeedsOperator, failed
from certrotd.lifecycle.wing import Premises
from certrotd.observe.endpoints import endpoint_of
from certrotd.observe.tls import TlsProber
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import LiveCertificate
from certrotd.pki.order import DNS_01, DNS_PERSIST_01, Challenge
from certrotd.pki.renewal import RenewalInfo
from certrotd.rotation.unexpected import as_failure
from certrotd.state.ports import Lease
from certrotd.stores.configured import Stores
from certrotd.stores.install import Copies, FileInstaller
from certrotd.stores.local import DISPLACED

ADVICE_TIME = 30.0
"""A rotation that waits for advice has one of the slots."""
LOCK_WAIT = 120.0
"""A rotation that waits has one of the slots."""
T = TypeVar("T")


class Adapters:
    """Built each when first used, shared by all rotations.

    ``budget`` is that of an issuer, None without one; ``surroundings`` are those of an issuer.
    """

    def __init__(
        self,
        config: Config,
        stores: Stores,
        premises: Premises,
        groups: Groups,
        budget: Callable[[str], Budget | None],
        surroundings: Callable[[str], Surroundings],
    ) -> None:
        self._premises = premises
        self._groups = groups
        self._surroundings = surroundings
        self._budget = budget
        self._config = config
        self._stores = stores
        self._clock = premises.clock
        self._prober = TlsProber(premises.clock)
        self._issuers: Shelf[Issuer] = Shelf(config.issuers, self._build_issuer, dry=premises.dry)
        self.solvers = Solvers(config, premises)
        self._targets: Shelf[Target] = Shelf(config.targets, self._build_target)
        self.revokers = Revokers(config, self._issuers.get, self._clock, premises.state)

    def close(self) -> None:
        """Let go of sockets and threads of the adapters that have any."""
        for shelf in (self._issuers, self.solvers, self._targets):
            shelf.close()

    def world(self, entry: Certificate) -> World:
        """What the steps of one rotation of ``entry`` act on."""
        return World(
            name=entry.name,
            clock=self._clock,
            store=self._stores.of(entry.name),
            installer=FileInstaller(
                entry.name,
                tuple(_copies(each) for each in entry.install),
                self._config.store_dir / entry.name / DISPLACED,
            ),
            issuer=partial(self._issuer, entry),
            solver=self.solvers.find,
            solver_for=self.solvers.chosen,
            dns=self.solvers.dns,
            target=partial(self._bound, entry),
            prober=self._prober,
            unready=partial(self._unready, entry),
            adoptable=partial(self._adoptable, entry),
            request=partial(request_in, entry.csr, entry.names),
            still=partial(self._still, entry),
            persistent=partial(self._persistent, entry),
            renewal_info=self._renewal_info,
            revoker=partial(self.revokers.of, entry),
            who_revokes=partial(self.revokers.who, entry),
            delivered_to=partial(self.revokers.delivered_to, entry),
            wants=lambda issuer, names: issuer in entry.issuers and {*names} == {*entry.names},
            remark=self._premises.remark,
            dry=self._premises.dry,
            order_time=self._order_time(entry),
            dns_time=self.solvers.act_time(),
            wait_time=self.solvers.wait_time(),
            follows=self.solvers.follows,
        )

    def _adoptable(self, entry: Certificate) -> tuple[bytes, bytes] | None:
        store: object = self._stores.of(entry.name)
        if entry.adopt is None and isinstance(store, Adopting):
            return store.adoptable(entry.name)
        return adoptable(entry.adopt)

    def _issuer(self, entry: Certificate, name: str) -> Issuer:
        issuer: Issuer = ReportingIssuer(self._proving(entry, name), self._listener(entry, name))
        budget = self._budget(name)
        if budget is None:
            return issuer
        return RateLimitedIssuer(
            issuer,
            budget,
            names=entry.names,
            authority=str(getattr(self._config.issuers[name], "directory", "")),
            look=partial(self._stores.of(entry.name).look, entry.name),
            clock=self._clock,
        )

    def _proving(self, entry: Certificate, name: str) -> Issuer:
        """The issuer, asking for the challenge of that certificate."""
        issuer = self._issuers.get(name)
        return issuer.proving_by(entry.challenge) if isinstance(issuer, Proving) else issuer

    def records(
        self,
        entry: Certificate,
        issuer: str,
        names: Sequence[str],
        deadline: Deadline,
        *,
        dry: bool = False,
    ) -> tuple[Challenge, ...]:
        """As Proving.records; none of an issuer that takes our word for the names."""
        proving: object = self._proving(entry, issuer)
        if not isinstance(proving, Proving):
            return ()
        return proving.records(names, deadline=deadline, dry=dry or self._premises.dry)

    def _persistent(self, entry: Certificate, issuer: str) -> Iterator[PersistentRecord]:
        """As World.persistent."""
        if entry.challenge != DNS_PERSIST_01:
            return
        deadline = Deadline(self._clock, LOCK_WAIT)
        records = self.records(entry, issuer, entry.names, deadline, dry=True)
        if not records and isinstance(self._issuers.get(issuer), Proving):
            raise NeedsOperator(
                f"there is no account at {issuer} yet, which its record has to name",
                hint=f"`certrotd dns persist-record {entry.name}` makes it and prints the record",
            )
        for each in records:
            yield each.name, partial(self._confirm, each)

    def _confirm(self, record: Challenge) -> datetime | None:
        return self.solvers.confirm(record, Deadline(self._clock, LOCK_WAIT))

    def _order_time(self, entry: Certificate) -> float:
        """Seconds that placing an order may take, at whichever of its CAs."""
        limits = (getattr(self._config.issuers[name], "timeout", None) for name in entry.issuers)
        return max((each.total_seconds() for each in limits if each), default=LOCK_WAIT)

    def _renewal_info(self, name: str, facts: CertificateFacts) -> RenewalInfo:
        """As World.renewal_info; nobody hears that a CA does not answer this."""
        issuer: object = self._issuers.get(name)
        if not isinstance(issuer, Advising):
            return no_renewal_info(name, facts)
        return issuer.renewal_info(facts, deadline=Deadline(self._clock, ADVICE_TIME))

    def _listener(self, entry: Certificate, issuer: str) -> ContactListener:
        return partial(self._premises.asked_service, id_of(entry.name), issuer)

    def target(self, name: str) -> Target:
        """One by its name, as all certificates share it; as issuer()."""
        return self._targets.get(name)

    def issuer(self, name: str) -> Issuer:
        """One by its name; NeedsOperator if the configuration has none."""
        return self._issuers.get(name)

    def _build_issuer(self, name: str, entry: Any) -> Any:
        module = importlib.import_module(f"certrotd.{entry.type}.issuer")
        context = IssuerContext(
            name,
            self._config.state_dir,
            self._clock,
            folder=self._premises.state.folder(f"{module.FOLDER}/{name}"),
            site=self._surroundings(name),
        )
        return module.build(entry, context)

    def _build_target(self, name: str, entry: Any) -> Any:
        context = Context(
            name,
            self._config.state_dir,
            self._clock,
            prove=self._prove,
            look=self._look,
            connect=self._premises.connect,
            stores=self._stores_by_target.get(name, {}),
        )
        return importlib.import_module(f"certrotd.targets.{entry.type}").build(entry, context)

    def _prove(
        self, probe: HandshakeEntry, host: str, port: int, certificate: LiveCertificate
    ) -> None:
        """As Context.prove."""
        endpoint = endpoint_of(probe, host, port, certificate.names)
        endpoint = replace(endpoint, key=certificate.key)
        self._prober.prove(endpoint, certificate.fingerprint)

    def _look(
        self, probe: HandshakeEntry, host: str, port: int, certificate: LiveCertificate
    ) -> str:
        """As Context.look."""
        endpoint = endpoint_of(probe, host, port, certificate.names)
        return self._prober.look(replace(endpoint, key=certificate.key)).fingerprint

    @cached_property
    def _stores_by_target(self) -> dict[str, dict[str, StoreEntry]]:
        found: dict[str, dict[str, StoreEntry]] = {}
        for each in self._config.certificates:
            if (store := each.store) is not None:
                for use in each.targets:
                    found.setdefault(use.target, {})[each.name] = store
        return found

    def _bound(self, entry: Certificate, name: str) -> Bound | None:
        use = next((use for use in entry.targets if use.target == name), None)
        target = self._targets.find(name)
        if use is None or target is None:
            return None
        probes = self._config.probes(use)
        shared = SharedTarget(
            target,
            partial(self._target_lock, name),
            name=name,
            about=partial(self._live, entry),
            groups=self._groups,
        )
        own = self._config.targets[name].own_probes
        return Bound(
            shared,
            tuple(
                endpoint_of(probe, probe.address.host, probe.address.port, entry.names)
                for probe in probes
            ),
            tuple(
                endpoint_of(each, f"{each.where} of {name}", each.port, entry.names) for each in own
            ),
            several=isinstance(target, InformedRevertible),
        )

    def _live(self, entry: Certificate) -> LiveCertificate:
        store = self._stores.of(entry.name)
        live = store.look(entry.name).live
        facts = live.facts if live else None
        return LiveCertificate(
            entry.name,
            entry.names,
            store.place(entry.name),
            facts.fingerprint if facts else "",
            facts.not_after if facts else None,
            facts.key_type if facts else "",
            store.sealed_secret(entry.name, live.number)
            if live is not None and isinstance(store, Sealing)
            else "",
            _combined(entry, store.place(entry.name)),
        )

    def _target_lock(self, name: str, *, shared: bool = False) -> AbstractContextManager[Lease]:
        wait = self._config.targets[name].lock_wait
        return self._premises.lock(f"_target-{name}", f"target {name}", wait, shared=shared)

    @contextmanager
    def _still(self, entry: Certificate) -> Iterator[None]:
        """As World.still: a service told for another certificate reads this one's files as well.

        It would meet the old chain and the new key. Files of several may change at once; a store
        that is Locked replaces key and chain in one, and copies in files are all that matters.
        """
        store: object = self._stores.of(entry.name)
        if isinstance(store, Locked) and not entry.install:
            yield
            return
        with ExitStack() as held:
            for use in entry.targets:
                held.enter_context(self._target_lock(use.target, shared=True))
            yield

    def _unready(
        self,
        entry: Certificate,
        issuer: str,
        names: Sequence[str],
        solver: str | None,
        /,
        *,
        ask: bool,
    ) -> Iterator[Failure]:
        """As World.unready; each issuer and solver is asked once per process, of each name's zone
        whenever it is to be ordered.
        """
        deadline = Deadline(self._clock, LOCK_WAIT)
        if entry.csr is not None:
            yield from failed(partial(request_in, entry.csr, entry.names))
        amiss = [*failed(partial(self._issuer_ready, entry, issuer, deadline, ask=ask))]
        yield from amiss
        if entry.challenge != DNS_01 and (amiss or not ask):
            return  # only an account at the CA tells where its records are to be
        try:
            records = self.records(entry, issuer, names, deadline)
        except (Failure, OSError) as error:
            if not amiss:
                yield as_failure(error, "find which records the CA wants")
            return
        if entry.challenge == DNS_PERSIST_01:
            for each in records:
                yield from failed(partial(self._confirm, each))
            return
        yield from self.solvers.unpublishable(records, solver, deadline, ask=ask)

    def _issuer_ready(
        self, entry: Certificate, issuer: str, deadline: Deadline, *, ask: bool
    ) -> None:
        with reported(self._listener(entry, issuer)):
            self._issuers.ready(issuer, deadline, ask=ask)


def _combined(entry: Certificate, place: str) -> tuple[str, ...]:
    """As LiveCertificate.combined."""
    own = () if entry.store is not None else (f"{place}/combined.pem",)
    return (*own, *(str(each.combined) for each in entry.install if each.combined is not None))


def _copies(entry: InstallEntry) -> Copies:
    secret = entry.pkcs12_password
    return Copies(
        paths=entry.paths,
        owner=None if entry.owner is None else str(entry.owner),
        group=None if entry.group is None else str(entry.group),
        mode=entry.mode,
        cert_mode=entry.cert_mode,
        in_place=entry.in_place,
        password=(lambda: b"") if secret is None else (lambda: secret.resolve().reveal()),
        pkcs12_cipher=entry.pkcs12_cipher,
    )
