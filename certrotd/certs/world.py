"""What the steps of one certificate's rotation act upon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from certrotd.certs.ports import Dns, Installer, Issuer, Order, Prober, Solver, Store
from certrotd.certs.target_ports import Target
from certrotd.clock import Clock
from certrotd.errors import Failure, NeedsOperator
from certrotd.observe.tls import Endpoint
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.generation import Behind, Meta
from certrotd.pki.keys import KeyType, PrivateKey, generate
from certrotd.pki.renewal import RenewalInfo
from certrotd.pki.revocation import RevocationRefused

if TYPE_CHECKING:
    from cryptography import x509


PersistentRecord = tuple[str, Callable[[], datetime | None]]


@dataclass(frozen=True)
class Bound:
    """A target together with where it serves the certificate; no endpoints, no proof.

    At those that are its ``own`` it proves the certificate itself, when it is told: only it knows
    their addresses. Of ``several`` processes behind one endpoint a handshake meets only some.
    """

    target: Target
    endpoints: tuple[Endpoint, ...]
    own: tuple[Endpoint, ...] = ()
    several: bool = False


class Unready(Protocol):
    """Tells what of an issuer and of the solvers for names cannot work.

    Unless ``ask``, only what they are made of is looked at, and nobody is contacted.
    """

    def __call__(
        self, issuer: str, names: Sequence[str], solver: str | None, /, *, ask: bool
    ) -> Iterable[Failure]: ...


def no_request() -> bytes:
    """Of a certificate whose key is made here."""
    raise NeedsOperator("the configuration names no csr of this certificate")


def no_renewal_info(_issuer: str, _facts: CertificateFacts) -> RenewalInfo:
    """Of an issuer that has no opinion."""
    raise NeedsOperator("the issuer does not say when to renew")


class AskToRevoke(Protocol):
    """Asks a CA to revoke a certificate for a reason, as Revoking.revoke."""

    def __call__(
        self, certificate: x509.Certificate, reason: int, key: PrivateKey | None, /
    ) -> bool: ...


@dataclass(frozen=True)
class WhoRevokes:
    """Which CA is asked to revoke a generation, and why; ``guessed`` if it may be the wrong one."""

    words: str
    guessed: bool = False


def no_revoker(_meta: Meta | None) -> AskToRevoke:
    """Where nobody revokes anything."""
    raise RevocationRefused("the issuer revokes nothing")


@dataclass
class World:
    """The adapters, by the names the configuration gives them; all look-ups may be lazy.

    ``target`` and ``solver`` answer None for what the configuration no longer has. ``unready``
    tells what of the issuer and the names' solvers obviously cannot work. ``adoptable``
    reads the pair to take over: key and chain, leaf first, or None. ``remark`` takes a line about
    something that is wrong and does not stand in the way. In seconds, ``order_time`` bounds
    placing an order or coming back to it, ``dns_time`` one act on the DNS and ``wait_time`` the
    wait until it is seen everywhere. ``order`` is this rotation's, once live; ``chain`` is what
    came of it, where that is not staged.
    ``follows`` says whether a CNAME at a challenge's name is to be followed, given the name and
    the solver that the certificate names.
    ``persistent`` names the records that somebody set once for an issuer, if any, each with what
    raises unless it is there and right, and gives its end if it has one; no account is made.
    ``renewal_info`` asks an issuer when a certificate of its own is to be renewed; raises Failure.
    ``revoker`` gives what asks the CA that issued a generation to revoke it, by its Meta; raises
    NeedsOperator where there is none; ``who_revokes`` says which CA that is, and why that one.
    ``delivered_to`` names the other hosts that have that one.
    ``request`` reads the request of a key that is elsewhere, as PEM, and puts it to the test.
    ``wants`` says whether the configuration still has these names ordered from that issuer.
    In a ``dry`` world everything is looked at without a trace, on disk or at the CA. ``awaiting``:
    placeholders are still to come that services name, so they are not asked yet.
    ``fence`` comes before every effect at a CA, a solver or a target: it raises Fenced when the
    rotation's lock is another's.
    ``known_compromised`` says whose key of that key_digest() is known to others, of all
    certificates, and ``note_compromised`` keeps that for good; both raise DiskTrouble.
    ``note_behind`` keeps who has an older copy, by target, for the decisions to come.
    Within ``still`` none of the certificate's targets is told to read files, by whatever rotation.
    """

    name: str
    clock: Clock
    store: Store
    installer: Installer
    issuer: Callable[[str], Issuer]
    solver: Callable[[str], Solver | None]
    solver_for: Callable[[str, str | None], str]
    dns: Callable[[], Dns]
    target: Callable[[str], Bound | None]
    prober: Prober
    unready: Unready = lambda *_asked, **_how: ()
    persistent: Callable[[str], Iterable[PersistentRecord]] = lambda _issuer: ()
    renewal_info: Callable[[str, CertificateFacts], RenewalInfo] = no_renewal_info
    revoker: Callable[[Meta | None], AskToRevoke] = no_revoker
    who_revokes: Callable[[Meta | None], WhoRevokes] = lambda _meta: WhoRevokes("its CA is asked")
    delivered_to: Callable[[int], Sequence[str]] = lambda _generation: ()
    request: Callable[[], bytes] = no_request
    adoptable: Callable[[], tuple[bytes, bytes] | None] = lambda: None
    still: Callable[[], AbstractContextManager[None]] = nullcontext
    wants: Callable[[str, Sequence[str]], bool] = lambda _issuer, _names: True
    new_key: Callable[[KeyType], PrivateKey] = generate
    follows: Callable[[str, str | None], bool] = lambda _name, _solver: True
    fence: Callable[[], None] = lambda: None
    remark: Callable[[str], None] = lambda _line: None
    known_compromised: Callable[[str], str | None] = lambda _key: None
    note_compromised: Callable[[str, str], None] = lambda _key, _of: None
    note_behind: Callable[[Mapping[str, Sequence[Behind]]], None] = lambda _behind: None
    dry: bool = False
    awaiting: bool = False
    order_time: float = 300.0
    dns_time: float = 60.0
    wait_time: float = 300.0
    order: Order | None = field(default=None)
    chain: bytes | None = field(default=None, repr=False)
