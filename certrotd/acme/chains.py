"""Which of the chains that a CA offers is the preferred one: a decision without any I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from certrotd.pki.facts import fingerprint
from certrotd.pki.keys import common_name

_DIGEST = "sha256:"


def by_fingerprint(wanted: str) -> str:
    """The SHA-256 in lower-case hex that ``wanted`` is; empty where it is a name."""
    if not wanted.lower().startswith(_DIGEST):
        return ""
    return re.sub(r"[:\s]", "", wanted[len(_DIGEST) :]).lower()


def suits(
    chain: Sequence[x509.Certificate], wanted: str, roots: Callable[[], Iterable[bytes]]
) -> bool:
    """Whether a chain, leaf first, is the one that is ``wanted``.

    By the common name of the issuer at its top; or by the fingerprint of a certificate above the
    leaf, or of the root above them, which a CA does not send: ``roots`` are those known, in DER.
    """
    digest = by_fingerprint(wanted)
    if not digest:
        return common_name(chain[-1].issuer) == wanted
    if any(fingerprint(each) == digest for each in chain[1:]):
        return True
    known = (each for each in roots() if sha256(each).hexdigest() == digest)
    return any(_issued_by(chain[-1], x509.load_der_x509_certificate(each)) for each in known)


def described(chain: Sequence[x509.Certificate], wanted: str) -> str:
    """A chain that was not taken, in the terms in which one is ``wanted``."""
    name = common_name(chain[-1].issuer)
    if not by_fingerprint(wanted) or len(chain) < 2:
        return name
    return f"{name} above {_DIGEST}{fingerprint(chain[-1])}"


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
