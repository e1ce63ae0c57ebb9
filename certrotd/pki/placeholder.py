"""A self-signed pair that stands in for a certificate which is still to come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from certrotd.pki.keys import PrivateKey
from certrotd.pki.names import is_ip

SUBJECT = "certrotd placeholder"
BACKDATE = timedelta(hours=1)
LIFETIME = timedelta(days=3650)
"""Long: a service must be able to start with it however long the first certificate takes."""


def self_signed(key: PrivateKey, names: Sequence[str], *, now: datetime) -> bytes:
    """A certificate in PEM for canonical ``names`` that nobody trusts, and that says what it is."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SUBJECT)])
    alternative = [x509.IPAddress(ip_address(n)) if is_ip(n) else x509.DNSName(n) for n in names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
