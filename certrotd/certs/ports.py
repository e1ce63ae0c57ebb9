"""What the rotation of a certificate needs of the outside, as small Protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from certrotd.clock import Deadline
from certrotd.dns.records import Coverage, Preflight, Solver, TxtRecord
from certrotd.errors import Failure
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import (
    CertificateState,
    Copy,
    Generation,
    Meta,
    Standing,
)
from certrotd.pki.order import Challenge, Missed
from certrotd.pki.renewal import RenewalInfo

if TYPE_CHECKING:  # it loads X.509, which a listing does without
    from certrotd.observe.tls import Endpoint, Served


class Order(Protocol):
    """One order for a certificate, live in this process."""

    @property
    def url(self) -> str:
        """What resume() finds it by after a crash; empty for issuers without orders."""
        ...

    def challenges(self) -> tuple[Challenge, ...]:
        """The DNS-01 challenges of every authorization that is still pending."""
        ...

    def validate(self) -> None:
        """Have the CA look at the challenges and wait until it is satisfied."""
        ...

    def finalize(self, csr_der: bytes) -> bytes:
        """The certificate chain in PEM, leaf first; of an order finalized before, the same one.

        Raises OrderGone, ValidationFailed or IssuanceRefused where it is certain that none will
        come; after any other failure one may have been issued.
        """
        ...


@runtime_checkable
class Choosing(Protocol):
    """An order of which one of several chains is chosen."""

    @property
    def missed(self) -> Missed | None:
        """After finalize(): the chain that was wanted, if it was not offered."""
        ...


class Issuer(Protocol):
    """A certificate authority."""

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> Order:
        """A new order; ``replaces`` tells a CA that wants to know, as pki.renewal.renewal_id."""
        ...

    def resume(self, url: str, *, deadline: Deadline) -> Order:
        """Raises OrderGone when a new order is needed."""
        ...


@runtime_checkable
class Proving(Protocol):
    """An issuer to which names may be proven by one of several kinds of challenge."""

    def proving_by(self, kind: str) -> Issuer:
        """The same issuer, with orders that ask for that one."""
        ...

    def records(
        self, names: Sequence[str], *, deadline: Deadline, dry: bool = False
    ) -> tuple[Challenge, ...]:
        """Where an order for ``names`` will want records, or has those that stay; raises Failure.

        None where that is not known yet: in a ``dry`` run no account is made.
        """
        ...


@runtime_checkable
class Advising(Protocol):
    """An issuer that says when a certificate of its own is to be renewed (RFC 9773)."""

    def renewal_info(self, facts: CertificateFacts, *, deadline: Deadline) -> RenewalInfo:
        """Raises NeedsOperator where it names no time for that one, and Transient."""
        ...


class Dns(Protocol):
    """What the DNS says, asked from outside the solver."""

    def locate(self, name: str, *, deadline: Deadline) -> str:
        """The name at the end of the CNAME chain from ``name``."""
        ...

    def wait(self, records: Sequence[TxtRecord], *, solver: str, deadline: Deadline) -> str:
        """Return when every authoritative server shows every record that the solver published.

        Or when enough do and the rest is silent: then who, in words.
        """
        ...

    def texts(self, name: str, *, deadline: Deadline) -> Mapping[str, frozenset[str]]:
        """The TXT values at the end of the CNAME chain from ``name``, by name server.

        None where nobody is to be asked; raises Failure.
        """
        ...

    def absent(self, record: TxtRecord, *, solver: str, deadline: Deadline) -> bool:
        """Whether every authoritative server says that it has no such record; raises Failure."""
        ...


class Prober(Protocol):
    """Looks at what is served, from outside."""

    def check(self, endpoint: Endpoint) -> None:
        """Whether what a proof there will read can be read; nothing is contacted."""
        ...

    def look(self, endpoint: Endpoint) -> Served:
        """One handshake; raises Failure when none could be completed."""
        ...

    def vouch(self, endpoint: Endpoint, key: bytes, chain: bytes) -> None:
        """Whether a proof there could trust this pair; nothing is contacted. Raises Failure."""
        ...

    def prove(self, endpoint: Endpoint, fingerprint: str) -> None:
        """Return when the leaf is served as often in a row as asked; raises ProofFailed."""
        ...


class Store(Protocol):
    """Where generations of certificates are kept: as files, or whatever else holds a pair."""

    def look(self, name: str, *, thorough: bool = False) -> Standing:
        """What there is; of a state that is damaged, that it is. Raises Failure.

        A ``thorough`` look reads every file of the live and of the newest generation.
        """
        ...

    def generation(self, name: str, number: int) -> Generation:
        """One generation, its files read, or told why it cannot be used. Raises Failure."""
        ...

    def check(self, name: str, *, dry: bool = False) -> None:
        """Whether a new generation could be written; raises Failure.

        A ``dry`` look writes nothing to find out.
        """
        ...

    def stage_key(self, name: str, generation: int, pem: bytes) -> None: ...

    def staged_key(self, name: str, generation: int) -> bytes | None: ...

    def stage_chain(self, name: str, generation: int, pem: bytes) -> None: ...

    def staged_chain(self, name: str, generation: int) -> bytes | None: ...

    def seal(self, name: str, generation: int, meta: Meta) -> None:
        """Make the staged key and chain an immutable generation, whole or not at all."""
        ...

    def sealed(self, name: str, generation: int) -> bool: ...

    def discard(self, name: str, generation: int) -> None:
        """Forget what is staged for a generation that was not sealed."""
        ...

    def read(self, name: str, generation: int) -> tuple[bytes, bytes]:
        """The private key and the chain, leaf first, in PEM, as they were sealed."""
        ...

    def rebuild(self, name: str, generation: int) -> None:
        """Put back what is damaged of a generation's files; raises Failure where it cannot be."""
        ...

    def exposed(self, name: str, generation: int) -> Sequence[str]:
        """Who else than certrotd may use the key of a generation, each with what to do about it."""
        ...

    def live(self, name: str) -> int | None: ...

    def place(self, name: str) -> str:
        """Where applications find the live generation, for people and programs: of files the
        folder.
        """
        ...

    def switch(self, name: str, generation: int) -> None:
        """Make a sealed generation live; what is damaged of its files is put back before."""
        ...

    def record(self, name: str, state: CertificateState) -> None:
        """Replace the certificate's mutable state."""
        ...

    def mend(self, name: str, state: CertificateState, *, now: datetime) -> str:
        """Record ``state`` in the place of a damaged one, which is kept; where that is."""
        ...

    def sweep(self, name: str) -> None:
        """Remove what crashes left; only while no rotation of this certificate is in flight."""
        ...

    def remove(self, name: str) -> None:
        """Remove all that there is of a certificate, but a live place that others keep."""
        ...

    def prune(self, name: str, keep: int, spare: Sequence[int]) -> None:
        """Remove generations but the newest ``keep`` before the live one, and ``spare``."""
        ...


@runtime_checkable
class Locked(Protocol):
    """A store that need not look again and again at what nobody else may change."""

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Within the block this thread holds the lock of that certificate."""
        ...


@runtime_checkable
class Adopting(Protocol):
    """A store whose live place may hold a pair that somebody else has put there."""

    def adoptable(self, name: str) -> tuple[bytes, bytes] | None:
        """Key and chain, leaf first, of a pair that is to be taken over; None without any."""
        ...


class SealingAtOnce(Protocol):
    """A store that makes a generation in one write, so that no chain need be staged before."""

    def seal_with(self, name: str, generation: int, meta: Meta, chain: bytes) -> None:
        """As Store.seal, of the staged key and this chain."""
        ...


def sealing_at_once(store: Store) -> SealingAtOnce | None:
    """The store if it is one, also behind a guard (which isinstance() may not ask)."""
    return cast("SealingAtOnce", store) if hasattr(store, "seal_with") else None


@runtime_checkable
class Sealing(Protocol):
    """A store that keeps each generation in a Secret of its own, which never changes."""

    def sealed_secret(self, name: str, generation: int) -> str:
        """What that Secret is called."""
        ...


class Installer(Protocol):
    """Copies of the live generation at paths that applications read."""

    def problems(self, *, dry: bool = False) -> Iterator[Failure]:
        """Everything that would keep a copy from being written; ``dry`` as in Store.check."""
        ...

    def vacant(self) -> bool:
        """Whether nothing is at any of the paths; raises Failure."""
        ...

    def install(self, key: bytes, chain: bytes, backup: str) -> None:
        """Replace every copy, after what was there is kept under the name ``backup``."""
        ...

    def restore(self, backup: str) -> None: ...

    def installed(self, key: bytes, chain: bytes) -> bool: ...

    def different(self, key: bytes, chain: bytes) -> str | None:
        """Which copy is not this pair's, and what it is instead; DiskTrouble if one is not read."""
        ...

    def copies(self) -> Mapping[str, Copy]:
        """What stands at each path now, for CertificateState.copies; raises Failure."""
        ...

    def forget(self, backup: str) -> None: ...

    def sweep(self) -> None:
        """Drop every backup; only while no rotation of this certificate is in flight."""
        ...


__all__ = [
    "Adopting",
    "Advising",
    "Choosing",
    "Coverage",
    "Dns",
    "Installer",
    "Issuer",
    "Order",
    "Preflight",
    "Prober",
    "Sealing",
    "Solver",
    "Store",
]
