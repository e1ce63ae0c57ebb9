"""Which CA is asked to revoke a generation, and who has a copy of it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

from cryptography import x509

from certrotd.certs.wiring.policies import authorities
from certrotd.certs.world import AskToRevoke, WhoRevokes
from certrotd.clock import Clock, Deadline
from certrotd.config.hosts import delivery_name
from certrotd.config.model import Certificate, Config
from certrotd.errors import NeedsOperator
from certrotd.jsontext import parsed
from certrotd.pki.generation import Meta
from certrotd.pki.keys import PrivateKey
from certrotd.pki.revocation import RevocationRefused
from certrotd.state.ports import State

TIMEOUT = timedelta(minutes=2)


@runtime_checkable
class Revoking(Protocol):
    """An issuer that can be told that a certificate of its own is not to be trusted any more."""

    def revoke(
        self,
        certificate: x509.Certificate,
        reason: int,
        *,
        key: PrivateKey | None,
        deadline: Deadline,
    ) -> bool:
        """Have the certificate revoked; whether it was already.

        Signed by its own ``key``, else by the account; ``reason`` as pki.revocation.REASONS has
        it. Raises NotEntitled (another signer may be), RevocationRefused, NeedsOperator, Transient.
        """
        ...


@dataclass(frozen=True)
class Revokers:
    """The issuers of one configuration, as far as they revoke; ``issuer`` gives one by its name."""

    config: Config
    issuer: Callable[[str], object]
    clock: Clock
    state: State

    def of(self, entry: Certificate, meta: Meta | None) -> AskToRevoke:
        """As World.revoker."""
        return self.named(self._issuer_of(entry, meta))

    def named(self, name: str) -> AskToRevoke:
        """That issuer; RevocationRefused if it revokes nothing."""
        issuer = self.issuer(name)
        if not isinstance(issuer, Revoking):
            raise RevocationRefused(
                f"issuer {name} is a CA inside of certrotd: no client can ask it what is revoked",
                hint="`certrotd rotate NAME --force` replaces a certificate",
            )
        time = getattr(self.config.issuers[name], "timeout", TIMEOUT).total_seconds()

        def ask(certificate: x509.Certificate, reason: int, key: PrivateKey | None, /) -> bool:
            return issuer.revoke(certificate, reason, key=key, deadline=Deadline(self.clock, time))

        return ask

    def delivered_to(self, entry: Certificate, generation: int) -> list[str]:
        """As World.delivered_to, by what the deliveries have written down."""
        return [
            each.host
            for each in entry.deliver
            if self._delivered(delivery_name(entry.name, each)) == generation
        ]

    def who(self, entry: Certificate, meta: Meta | None) -> WhoRevokes:
        """As World.who_revokes; raises NeedsOperator."""
        name = self._issuer_of(entry, meta)
        if meta is not None and meta.origin == "issued":
            return WhoRevokes(f"{name} is asked, the CA that issued it")
        asks = "which CA issued it is not known, as certrotd did not order it: "
        if any(each.name == entry.name for each in self.config.certificates):
            why = "its issuer; another one is asked if that is its issuer"
        else:
            file = self.config.store_dir / entry.name / "live/cert.pem"
            why = f"the first of the configuration; `certrotd revoke --file {file} --issuer NAME` "
            why += "asks another one"
        return WhoRevokes(f"{asks}{name} is asked, {why}", guessed=True)

    def _issuer_of(self, entry: Certificate, meta: Meta | None) -> str:
        """The issuer that is the CA which issued a generation; of another's pair, ours."""
        if meta is None or meta.origin != "issued":
            return entry.issuers[0]
        same = [name for name, ca in authorities(self.config).items() if ca == meta.authority]
        if not same:
            raise NeedsOperator(
                f"no issuer of the configuration is the CA that issued it, {meta.authority}",
                hint="put it back under issuers",
            )
        return meta.issuer if meta.issuer in same else same[0]

    def _delivered(self, delivery: str) -> int | None:
        found = self.state.document(f"deliveries/{delivery}").read()
        try:
            return int(parsed(found.data)["generation"]) if found else None
        except (ValueError, KeyError, TypeError):
            return None  # it is delivered again
