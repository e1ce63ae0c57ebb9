"""The whole chain an endpoint serves, and whether clients could follow it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from certrotd.clock import Clock, Deadline
from certrotd.observe.tls import Endpoint, Untrusted, checking, no_check, shown
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.verify import ChainBroken, verify_links

ROOTS_TIME = 600.0
_OF_DATES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True, slots=True)
class Presented:
    """What an endpoint showed: ``chain`` as it was sent, the leaf first; never empty.

    ``broken`` says why clients cannot follow it, or is empty; ``trusted`` tells whether it was
    checked against roots and verified, else only its links were.
    """

    chain: tuple[CertificateFacts, ...]
    broken: str = ""
    trusted: bool = False


class Examiner:
    """Looks at chains over real sockets.

    Roots are read again every ten minutes: that takes longer than a handshake, and more memory.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._roots: dict[str, tuple[float, ssl.SSLContext]] = {}

    def examine(self, endpoint: Endpoint) -> Presented:
        """One handshake, or a second where the chain is not trusted, each within the deadline.

        Roots are consulted about the chain alone: names are the caller's to judge, and so are the
        leaf's dates. Raises Transient when nobody answers, InvalidInput when what is sent is no
        certificate, NeedsOperator for unreadable roots.
        """
        if endpoint.roots is None:
            sent = self._sent(endpoint, no_check())
            return Presented(_facts(sent), _broken_link(sent))
        context = self._trusting(endpoint.roots)
        try:
            return Presented(_facts(self._sent(endpoint, context)), trusted=True)
        except Untrusted as untrusted:
            why, code = untrusted.why, untrusted.code
        chain = _facts(self._sent(endpoint, no_check()))
        # of a leaf that is out of date OpenSSL says nothing else, and everybody can see that
        of_leaf = code in _OF_DATES and not _valid(chain[0], self._clock.now())
        return Presented(chain, "" if of_leaf else f"the chain is not trusted: {why}")

    def _sent(self, endpoint: Endpoint, context: ssl.SSLContext) -> list[x509.Certificate]:
        what = f"{endpoint}: what it sent"
        sent = shown(endpoint, context, Deadline(self._clock, endpoint.deadline))
        return [each for der in sent for each in parse_certificates(der, what=what)]

    def _trusting(self, roots: str) -> ssl.SSLContext:
        """A context that checks the chain alone; several threads may use it at once."""
        now = self._clock.monotonic()
        read, context = self._roots.get(roots, (-ROOTS_TIME, None))
        if context is None or now - read >= ROOTS_TIME:
            context = checking(roots)
            context.check_hostname = False
            self._roots[roots] = (now, context)
        return context


def _facts(chain: Sequence[x509.Certificate]) -> tuple[CertificateFacts, ...]:
    return tuple(facts_of(each) for each in chain)


def _valid(leaf: CertificateFacts, now: datetime) -> bool:
    return leaf.not_before <= now < leaf.not_after


def _broken_link(chain: Sequence[x509.Certificate]) -> str:
    try:
        verify_links(chain)
    except ChainBroken as broken:
        return str(broken)
    return ""
