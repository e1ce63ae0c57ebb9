"""What must hold before a certificate is put in front of users, checked without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certrotd.errors import InvalidInput
from certrotd.pki.facts import facts_of, fingerprint
from certrotd.pki.keys import load, spki
from certrotd.pki.path import ChainBroken, verify_path, weakness
from certrotd.pki.request import Holder

CLOCK_SKEW = timedelta(minutes=5)


class KeyMismatch(InvalidInput):
    """The private key does not belong to the certificate."""


class NamesMissing(InvalidInput):
    """The certificate is not for every name that was asked for."""


class DatesImplausible(InvalidInput):
    """The certificate is expired, not yet valid, or the clock is wrong."""


class NotYetValid(DatesImplausible):
    """It will be valid at the moment ``at``, or the clock is behind."""

    def __init__(self, message: str, *, hint: str, at: datetime) -> None:
        super().__init__(message, hint=hint)
        self.at = at


class KeyTooWeak(InvalidInput):
    """The public key is weaker than public CAs accept."""


def verify(
    key: Holder, chain: Sequence[x509.Certificate], names: Sequence[str], *, now: datetime
) -> None:
    """Check an issued bundle: ``chain`` is leaf first, ``names`` the canonical names asked for.

    Raises the subclass of InvalidInput that says what does not hold. Roots are not consulted:
    a private CA's chain is as good as its links; the probe checks trust where roots are given.
    """
    if not chain:
        raise ChainBroken("the CA sent no certificate")
    verify_key(key, chain[0])
    verify_strength(chain[0])
    verify_names(chain[0], names)
    verify_dates(chain, now=now)
    verify_path(chain)


def usable_pair(
    key: bytes, certificates: Sequence[x509.Certificate], *, what: str, now: datetime
) -> x509.Certificate:
    """The leaf of a pair that somebody else put there, if it may be taken over.

    ``key`` is in PEM or DER and ``what`` names it. Raises InvalidInput unless key and certificate
    belong together and the leaf is in date.
    """
    verify_key(load(key, what=what), certificates[0])
    verify_dates(certificates[:1], now=now)
    return certificates[0]


def verify_key(key: Holder, leaf: x509.Certificate) -> None:
    """The private key, or that of a request, is the one the certificate is for."""
    if spki(key.public_key()) != spki(leaf.public_key()):
        of = " of the request" if isinstance(key, x509.CertificateSigningRequest) else ""
        raise KeyMismatch(
            f"the private key{of} does not belong to certificate {fingerprint(leaf)[:16]}",
            hint="the key was replaced or the certificate is another order's",
        )


def verify_strength(leaf: x509.Certificate) -> None:
    """RSA of at least 2048 bits, a curve of at least 224 (CA/B Forum BR §6.1.5), or Ed25519."""
    public = leaf.public_key()
    if why := weakness(public):
        raise KeyTooWeak(f"the certificate's {why}")
    if not isinstance(
        public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    ):
        raise KeyTooWeak(f"the certificate's key is a {type(public).__name__}")


def verify_names(leaf: x509.Certificate, names: Sequence[str]) -> None:
    """Every name asked for is in the certificate as such: a wildcard does not stand in for one."""
    have = set(facts_of(leaf).names)
    missing = [name for name in names if name not in have]
    if missing:
        shown = ", ".join(sorted(have)) or "no name at all"
        raise NamesMissing(f"the certificate is for {shown} and lacks {', '.join(missing)}")


def verify_dates(chain: Sequence[x509.Certificate], *, now: datetime) -> None:
    """Leaf and intermediates are valid now, with five minutes of clock skew at the beginning."""
    moment = f"this machine's clock says {now:%Y-%m-%d %H:%M:%S}Z"
    for certificate in chain:
        who = facts_of(certificate).subject or "the leaf"
        if certificate.not_valid_after_utc <= now:
            raise DatesImplausible(
                f"{who}: expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}Z",
                hint=moment,
            )
        begins = certificate.not_valid_before_utc
        if certificate.not_valid_after_utc <= begins:
            raise DatesImplausible(f"{who}: it ends as soon as it begins, at {begins:%F %T}Z")
        if begins > now + CLOCK_SKEW:
            words = f"{who}: not valid before {begins:%Y-%m-%d %H:%M:%S}Z"
            raise NotYetValid(words, hint=moment, at=begins)
