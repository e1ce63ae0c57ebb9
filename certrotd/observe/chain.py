"""The whole chain an endpoint serves, and whether clients could follow it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from certrotd.clock import Clock, Deadline
from certrotd.errors import InvalidInput
from certrotd.observe.tls import Endpoint, Untrusted, shown_to_any
from certrotd.observe.trust import TlsContexts
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.path import doubts, verify_path

ROOTS_TIME = 600.0
_OF_DATES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True, slots=True)
class Presented:
    """What an endpoint showed: ``chain`` as it was sent, the leaf first, as far as it can be read.

    ``broken`` says why clients cannot follow it, or is empty, and ``doubtful`` why some cannot;
    ``trusted`` tells whether it was checked against roots and verified, else it was taken by
    itself. ``unreadable`` says what is wrong
    with the first certificate that cannot be read, or is empty; then ``digest`` is the SHA-256 of
    the leaf's DER in lower hex.
    """

    chain: tuple[CertificateFacts, ...]
    broken: str = ""
    trusted: bool = False
    doubtful: str = ""
    unreadable: str = ""
    digest: str = ""

    @property
    def leaf(self) -> CertificateFacts | None:
        """What the leaf says, None if it cannot be read."""
        return self.chain[0] if self.chain else None

    @property
    def fingerprint(self) -> str:
        """The leaf's, whether it can be read or not."""
        return self.chain[0].fingerprint if self.chain else self.digest


class Examiner:
    """Looks at chains over real sockets.

    Roots are read again every ten minutes: that takes longer than a handshake, and more memory.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anybody = TlsContexts()
        self._roots: dict[str, tuple[float, TlsContexts]] = {}

    def examine(self, endpoint: Endpoint) -> Presented:
        """One handshake, or a second where the chain is not trusted, each within the deadline.

        Roots are consulted about the chain alone: names are the caller's to judge, and so are the
        leaf's dates. Raises Transient when nobody answers, NeedsOperator for unreadable roots.
        """
        if endpoint.roots is None:
            presented, certificates = self._look(endpoint, self._anybody)
            if not certificates:
                return presented
            return self._judged(presented, certificates)
        trust = self._trusting(endpoint.roots)
        try:
            presented, certificates = self._look(endpoint, trust)
            doubtful = doubts(certificates, now=self._clock.now()) if certificates else ""
            return replace(presented, trusted=True, doubtful=doubtful)
        except Untrusted as untrusted:
            why, code = untrusted.why, untrusted.code
        presented, _ = self._look(endpoint, self._anybody)
        # of a leaf that is out of date OpenSSL says nothing else, and everybody can see that
        leaf = presented.leaf
        of_leaf = code in _OF_DATES and leaf is not None and not _valid(leaf, self._clock.now())
        return replace(presented, broken="" if of_leaf else f"the chain is not trusted: {why}")

    def _look(
        self, endpoint: Endpoint, trust: TlsContexts
    ) -> tuple[Presented, list[x509.Certificate]]:
        """What one handshake showed, and its certificates up to the first that is unreadable."""
        sent = shown_to_any(endpoint, trust, Deadline(self._clock, endpoint.deadline))
        read: list[x509.Certificate] = []
        try:
            for number, der in enumerate(sent, 1):
                read += parse_certificates(der, what=f"certificate {number} of {len(sent)}")
        except InvalidInput as unreadable:
            digest = hashlib.sha256(sent[0]).hexdigest()
            return Presented(_facts(read), unreadable=str(unreadable), digest=digest), read
        return Presented(_facts(read)), read

    def _judged(self, presented: Presented, chain: Sequence[x509.Certificate]) -> Presented:
        """What clients would say who trust the last certificate of the chain."""
        try:
            verify_path(chain)
        except InvalidInput as broken:
            return replace(presented, broken=str(broken))
        return replace(presented, doubtful=doubts(chain, now=self._clock.now()))

    def _trusting(self, roots: str) -> TlsContexts:
        """A client that checks the chain alone; several threads may use it at once."""
        now = self._clock.monotonic()
        read, trust = self._roots.get(roots, (-ROOTS_TIME, None))
        if trust is None or now - read >= ROOTS_TIME:
            trust = TlsContexts(roots, names=False)
            trust.context()  # which reads them
            self._roots[roots] = (now, trust)
        return trust


def _facts(chain: Sequence[x509.Certificate]) -> tuple[CertificateFacts, ...]:
    return tuple(facts_of(each) for each in chain)


def _valid(leaf: CertificateFacts, now: datetime) -> bool:
    return leaf.not_before <= now < leaf.not_after
