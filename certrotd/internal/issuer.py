"""The internal issuer: signs at once with a root of its own, and has no orders to wait for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrotd.clock import Clock, Deadline
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import InternalEntry
from certrotd.errors import NeedsOperator
from certrotd.internal.root import (
    CERTIFICATE_FILE,
    KEY_FILE,
    Root,
    digest,
    keep,
    key_usage,
    load,
    make_root,
    permits,
    refuse_another,
)
from certrotd.pki.facts import facts_of
from certrotd.pki.names import canonical, is_ip
from certrotd.pki.order import Challenge, OrderGone
from certrotd.pki.request import check_request, read_request
from certrotd.pki.verify import verify_strength
from certrotd.rotation.stopping import TurnDeadline

WHAT = "the certificate signing request"
FOLDER = "internal"
"""Where the folders of these issuers are in the state."""
ROOT_MUST_LAST = timedelta(days=1)
MAX_COMMON_NAME = 64  # RFC 5280 appendix A, ub-common-name
_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class InternalIssuer:
    """Issues from a private root kept in its folder; safe for many threads.

    Making one does not touch the disk; the first root ever is made by the first order.
    """

    def __init__(self, entry: InternalEntry, context: IssuerContext) -> None:
        self._entry = entry
        self._name = context.name
        self._clock = context.clock
        self._site = context.site
        self._folder = context.folder
        self._lock = threading.Lock()
        self._root: Root | None = None

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:
        """The root is there (made if new, unless ``dry``), readable and lasts another day."""
        if not dry:
            self._ready_root(deadline)
        elif (root := load(self._folder)) is not None:
            self._lasting(root)
        else:
            self._refuse_if_lost()

    def order(
        self,
        names: Sequence[str],
        *,
        deadline: Deadline,
        replaces: str = "",  # noqa: ARG002
    ) -> InternalOrder:
        """An order for ``names``, which the root's constraints must permit.

        Raises NeedsOperator, LockHeld, DiskTrouble.
        """
        root = self._ready_root(deadline)
        wanted = tuple(dict.fromkeys(canonical(name) for name in names))
        for name in wanted:
            if not permits(root.certificate, name):
                raise NeedsOperator(
                    f"the CA {self._name} may not certify {name}",
                    hint="its root was made for certain names (permitted_names)",
                )
        return InternalOrder(root, wanted, self._entry, self._clock)

    def resume(self, url: str, *, deadline: Deadline) -> InternalOrder:  # noqa: ARG002  # the port's
        """Always OrderGone: an order here is over as soon as it is made."""
        raise OrderGone(f"the CA {self._name} has no orders, so none at {url!r}")

    def init(self, *, deadline: Deadline) -> str:
        """Make a root where there is none, also where one is lost; where its certificate is.

        Raises NeedsOperator where there is one already, or half of one; LockHeld, DiskTrouble.
        """
        with self._lock, self._held(deadline):
            if load(self._folder) is not None:
                raise NeedsOperator(
                    f"the CA {self._name} has a root in {self._folder.place}",
                    hint="nothing was changed; to make another root, move it away first",
                )
            self._root = self._make()
        return self._folder.where(CERTIFICATE_FILE)

    def _ready_root(self, deadline: Deadline) -> Root:
        with self._lock:
            # what is kept in memory alone is lost with this process: it is said while there is time
            if self._root is None or KEY_FILE not in self._folder.names():
                with self._held(deadline):
                    self._root = load(self._folder) or self._make_first()
            root = self._root
        return self._lasting(root)

    def _lasting(self, root: Root) -> Root:
        ends = root.certificate.not_valid_after_utc
        if ends < self._clock.now() + ROOT_MUST_LAST:
            raise NeedsOperator(
                f"the root of the CA {self._name} ends at {ends:%Y-%m-%d %H:%M:%S}Z",
                hint=f"move {self._folder.place} away, `certrotd internal init {self._name}`, "
                "and have clients trust the new one",
            )
        return root

    def _make_first(self) -> Root:
        self._refuse_if_lost()
        return self._make()

    def _refuse_if_lost(self) -> None:
        if issued := self._site.issued():
            raise refuse_another(self._folder.place, self._name, issued)

    def _make(self) -> Root:
        root = make_root(self._entry, now=self._clock.now())
        # first: what cannot be recorded is not begun
        self._site.record("root.made", fingerprint=facts_of(root.certificate).fingerprint)
        keep(root, self._folder)
        return root

    def _held(self, deadline: Deadline) -> AbstractContextManager[object]:
        what = f"the root in {self._folder.place}"
        return self._folder.locked(what, TurnDeadline(deadline))


class InternalOrder:
    """An order that needs no proof and is kept nowhere."""

    url = ""

    def __init__(
        self, root: Root, names: tuple[str, ...], entry: InternalEntry, clock: Clock
    ) -> None:
        self._root = root
        self._names = names
        self._entry = entry
        self._clock = clock

    def challenges(self) -> tuple[Challenge, ...]:
        """(): who may use this issuer decides itself what it certifies."""
        return ()

    def validate(self) -> None:
        """Nothing is to be proven."""

    def finalize(self, csr_der: bytes) -> bytes:
        """The leaf and the root in PEM; raises InvalidInput for a CSR that is not for the order.

        The root comes along so that chain.pem is not empty, which some servers refuse to load;
        clients pass over it (RFC 8446 §4.4.2) and need it as a trust anchor anyway.
        """
        csr = read_request(csr_der, what=WHAT)
        check_request(csr, self._names, what=WHAT)
        leaf = sign_leaf(self._root, csr, self._names, self._entry, self._clock.now())
        return b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, self._root.certificate))


def sign_leaf(
    root: Root,
    csr: x509.CertificateSigningRequest,
    names: Sequence[str],
    entry: InternalEntry,
    now: datetime,
) -> x509.Certificate:
    """A certificate for the CSR's key: for TLS servers and clients, never outliving its root."""
    public = csr.public_key()
    issuer = root.certificate
    now = now.replace(microsecond=0)
    # no address: OpenSSL holds a common name against the DNS constraints of the root
    short = [name for name in names if not is_ip(name) and len(name) <= MAX_COMMON_NAME]
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, short[0])] if short else []
    alternative: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(name)) if is_ip(name) else x509.DNSName(name) for name in names
    ]
    above = x509.SubjectKeyIdentifier.from_public_key(root.key.public_key())
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(signs_certificates=False, encrypts=isinstance(public, rsa.RSAPublicKey)), True),
        (x509.ExtendedKeyUsage([_SERVER, _CLIENT]), False),
        (x509.SubjectAlternativeName(alternative), not subject),  # RFC 5280 §4.2.1.6
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), False),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())  # 159 random bits (RFC 5280 §4.1.2.2)
        .not_valid_before(max(now - entry.backdate, issuer.not_valid_before_utc))
        .not_valid_after(min(now + entry.lifetime, issuer.not_valid_after_utc))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    leaf = builder.sign(root.key, digest(root.key))
    verify_strength(leaf)
    return leaf


def build(entry: InternalEntry, context: IssuerContext) -> InternalIssuer:
    """The issuer of a configuration entry."""
    return InternalIssuer(entry, context)
