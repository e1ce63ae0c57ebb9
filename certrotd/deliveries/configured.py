"""The deliveries of a configuration: their policies, and what they act upon."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from functools import cached_property, partial

from certrotd.clock import Clock
from certrotd.config.hosts import DeliverEntry, HostEntry, delivery_name
from certrotd.config.model import Certificate, Config
from certrotd.deliveries.document import FOLDER, delivered_in
from certrotd.deliveries.policy import Delivered, Policy, Standing
from certrotd.deliveries.steps import World
from certrotd.id import ONLY_KIND, Id
from certrotd.lifecycle.attempts import attempts_of
from certrotd.lifecycle.wing import Premises
from certrotd.observe.endpoints import endpoint_of
from certrotd.observe.tls import TlsProber
from certrotd.ssh.folder import RemoteFolder
from certrotd.ssh.session import Session
from certrotd.state.ports import History, Journal, Lease
from certrotd.state.typed import TypedDocument
from certrotd.stores.configured import Stores


class ConfiguredDelivery:
    """One entry of ``deliver`` of a certificate, with what its rotation needs."""

    def __init__(
        self,
        certificate: Certificate,
        entry: DeliverEntry,
        config: Config,
        premises: Premises,
        stores: Stores,
    ) -> None:
        self._certificate = certificate
        self._entry = entry
        self._host = config.hosts[entry.host]
        self._premises = premises
        self._stores = stores
        self.policy = _policy(certificate, entry, self._host)

    @property
    def clock(self) -> Clock:
        return self._premises.clock

    @cached_property
    def journal(self) -> Journal:
        return self._premises.state.journal(str(self.policy.id))

    @property
    def history(self) -> History:
        return self.journal.history

    def document(self) -> TypedDocument[Delivered]:
        """What it has brought; one of its own for every thread."""
        return delivered_in(self._premises.state.document(f"{FOLDER}/{self.policy.name}"))

    def lock(self) -> AbstractContextManager[Lease]:
        """As Rotatable.lock."""
        return self._premises.lock(str(self.policy.id), f"delivery {self.policy.name}", None)

    def in_flight(self) -> bool:
        """Whether a rotation of it is open."""
        return self._premises.in_flight(self.policy.id)

    def wake(self) -> None:
        """Ask that it is looked at now."""
        self._premises.state.wake(str(self.policy.id))

    def configuration(self) -> str:
        """As Rotatable.configuration."""
        return _digest([self._entry, self._host])

    def session(self) -> Session:
        """As Managed.session."""
        return Session(self.policy.host, self._host, self.clock)

    def folder(self, session: Session) -> RemoteFolder:
        """The directory on the host."""
        return RemoteFolder(session, self._entry.folder)

    def world(self, session: Session) -> World:
        """As Managed.world."""
        name = self._certificate.name
        return World(
            policy=self.policy,
            pair=partial(self._stores.of(name).read, name),
            folder=self.folder(session),
            prober=TlsProber(self.clock),
            document=self.document(),
            clock=self.clock,
            heard=partial(self._premises.asked_service, self.policy.id, f"host {self.policy.host}"),
            revoked=self._revoked,
        )

    def _revoked(self, fingerprint: str) -> str:
        name = self._certificate.name
        known = self._stores.of(name).look(name).state.revoked
        done = (n for n, each in known.items() if each.done and each.fingerprint == fingerprint)
        return next((known[number].words(number) for number in done), "")

    def look(self, *, thorough: bool = False) -> Standing:
        """As Managed.look."""
        name = self._certificate.name
        return Standing(
            live=self._stores.of(name).look(name, thorough=thorough).live,
            delivered=self.document().peek(),
            rotating=self._premises.in_flight(self.policy.certificate),
            attempts=attempts_of(self.history.last(), self.configuration()),
        )


def _policy(certificate: Certificate, entry: DeliverEntry, host: HostEntry) -> Policy:
    where = [str(host.address), str(entry.directory), entry.files]
    how = [entry.owner, entry.group, int(entry.mode), int(entry.cert_mode)]
    return Policy(
        name=delivery_name(certificate.name, entry),
        certificate=Id(ONLY_KIND, certificate.name),
        host=entry.host,
        place=f"{entry.host} ({host.address})",
        directory=str(entry.directory),
        asked=_digest([*where, *how]),
        files=entry.files,
        owner=entry.owner,
        group=entry.group,
        mode=entry.mode,
        cert_mode=entry.cert_mode,
        command=entry.command or (),
        command_seconds=entry.command_timeout.total_seconds(),
        endpoints=tuple(
            endpoint_of(each, each.address.host, each.address.port, certificate.names)
            for each in entry.probe
        ),
        keep=entry.keep,
        window=certificate.window,
        enabled=certificate.enabled,
        names=certificate.names,
    )


def _digest(part: object) -> str:
    from pydantic_core import to_json

    return hashlib.sha256(to_json(part, fallback=str)).hexdigest()[:16]
