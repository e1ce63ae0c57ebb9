"""An issuer in memory: real certificates, orders to count, and failures to switch on."""

from __future__ import annotations

import functools
import hashlib
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput
from certrotd.internal.root import key_usage
from certrotd.pki.facts import fingerprint
from certrotd.pki.names import base, is_ip
from certrotd.pki.order import Challenge, OrderGone, ValidationFailed

Point = Literal["order", "ordered", "validate", "validated", "finalize", "issued"]
"""Where a fault strikes: before the CA does something, or after it did and before it is heard."""


@dataclass(frozen=True)
class _CA:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class MemoryIssuer:
    """A CA that outlives the process using it, as a CA does: keep it over a simulated crash.

    ``now`` stamps certificates. ``lookup`` gives the TXT values visible under a name: with it
    challenges are really checked, without it every proof is believed. ``orders``, ``issued`` and
    ``replaced`` record everything; ``revoked`` are the fingerprints of what was.
    ``faults`` maps a point to what is raised there, once. ``authorized`` names
    need no proof. ``refuse_issuance`` makes orders invalid when they are finalized;
    ``other_names`` are put into certificates instead of those ordered, and ``other_extensions``
    instead of the identifier of the CA's key.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        lifetime: timedelta = timedelta(days=90),
        lookup: Callable[[str], Collection[str]] | None = None,
    ) -> None:
        self.now = now
        self.lifetime = lifetime
        self.lookup = lookup
        self.orders: list[MemoryOrder] = []
        self.issued: list[x509.Certificate] = []
        self.replaced: list[str] = []
        self.revoked: list[str] = []
        self.faults: dict[Point, BaseException] = {}
        self.authorized: set[str] = set()
        self.refuse_issuance = False
        self.other_names: tuple[str, ...] = ()
        self.other_extensions: tuple[x509.ExtensionType, ...] | None = None
        self.lock = threading.Lock()

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> MemoryOrder:
        """A new order, pending unless every name is authorized."""
        self.strike("order")
        self.replaced.append(replaces)
        with self.lock:
            order = MemoryOrder(self, f"memory://order/{len(self.orders) + 1}", tuple(names))
            self.orders.append(order)
        self.strike("ordered")
        return order

    def resume(self, url: str, *, deadline: Deadline) -> MemoryOrder:
        """The same order again; OrderGone if it is invalid or was never made."""
        for order in self.orders:
            if order.url == url and order.status != "invalid":
                return order
        raise OrderGone(f"no order at {url!r}")

    def revoke(self, certificate: x509.Certificate) -> bool:
        """As Revoking.revoke, whoever signs."""
        known = fingerprint(certificate)
        already = known in self.revoked
        if not already:
            self.revoked.append(known)
        return already

    def forget(self) -> None:
        """Lose every order, as a CA does whose orders expired."""
        for order in self.orders:
            order.status = "invalid"

    def strike(self, point: Point) -> None:
        """Raise the fault switched on for ``point``, once."""
        fault = self.faults.pop(point, None)
        if fault is not None:
            raise fault


class MemoryOrder:
    """One order; ``status`` is pending, ready, valid or invalid."""

    def __init__(self, issuer: MemoryIssuer, url: str, names: tuple[str, ...]) -> None:
        self.url = url
        self.names = names
        self.chain = b""
        self._issuer = issuer
        waiting = [name for name in names if name not in issuer.authorized]
        self.status = "pending" if waiting else "ready"
        self._challenges = tuple(self._challenge(name) for name in waiting)

    def challenges(self) -> tuple[Challenge, ...]:
        """What is still to be proven."""
        return self._challenges if self.status == "pending" else ()

    def validate(self) -> None:
        """Look for every challenge; a missing one makes the order invalid."""
        self._issuer.strike("validate")
        lookup = self._issuer.lookup
        for challenge in self.challenges():
            if lookup is not None and challenge.value not in lookup(challenge.name):
                self.status = "invalid"
                raise ValidationFailed(f"no TXT record {challenge.value} at {challenge.name}")
        if self.status == "pending":
            self.status = "ready"
        self._issuer.strike("validated")

    def finalize(self, csr_der: bytes) -> bytes:
        """Issue once; afterwards the same chain whatever the CSR."""
        self._issuer.strike("finalize")
        if self._issuer.refuse_issuance:
            self.status = "invalid"
        if self.status not in ("ready", "valid"):
            raise ValidationFailed(f"the order for {', '.join(self.names)} is {self.status}")
        with self._issuer.lock:
            if self.status == "ready":
                self._issue(csr_der)
        self._issuer.strike("issued")
        return self.chain

    def _issue(self, csr_der: bytes) -> None:
        csr = x509.load_der_x509_csr(csr_der)
        found = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        asked = {
            *found.get_values_for_type(x509.DNSName),
            *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
        }
        if not csr.is_signature_valid or asked != set(self.names):
            raise InvalidInput(f"the CSR is for {asked}, the order for {set(self.names)}")
        names = self._issuer.other_names or self.names
        extensions = self._issuer.other_extensions
        leaf = _sign(csr, names, self._issuer.now(), self._issuer.lifetime, extensions)
        above = _ca().certificate
        self.chain = b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, above))
        self.status = "valid"
        self._issuer.issued.append(leaf)

    def _challenge(self, name: str) -> Challenge:
        digest = hashlib.sha256(f"{self.url} {name}".encode()).digest()
        value = urlsafe_b64encode(digest).rstrip(b"=").decode()
        return Challenge(f"_acme-challenge.{base(name)}", value)


def _sign(
    csr: x509.CertificateSigningRequest,
    names: Iterable[str],
    now: datetime,
    lifetime: timedelta,
    extensions: Iterable[x509.ExtensionType] | None,
) -> x509.Certificate:
    ca = _ca()
    start = now.replace(microsecond=0) - timedelta(minutes=1)
    alternative: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(name)) if is_ip(name) else x509.DNSName(name) for name in names
    ]
    if extensions is None:
        extensions = [x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.certificate.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ca.key, hashes.SHA256())


@functools.cache
def _ca() -> _CA:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA in memory")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _CA(key, certificate)
