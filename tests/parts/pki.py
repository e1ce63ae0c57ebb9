"""Certificates for the tests' own servers, made with `cryptography` alone."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Pair:
    """A private key with its certificate and the intermediates above it."""

    key: Key
    certificate: x509.Certificate
    intermediates: Sequence[x509.Certificate] = ()

    @property
    def key_pem(self) -> bytes:
        """The private key in PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def fullchain_pem(self) -> bytes:
        """The certificate, then the intermediates."""
        chain = [self.certificate, *self.intermediates]
        return b"".join(one.public_bytes(Encoding.PEM) for one in chain)

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Writes NAME.crt (full chain) and NAME.key and returns both paths."""
        directory.mkdir(parents=True, exist_ok=True)
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(self.fullchain_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key


def make_root(name: str = "certrotd test root") -> Pair:
    """A self-signed CA."""
    return _issue(name, None, is_ca=True, lifetime=timedelta(days=3650))


def make_intermediate(
    parent: Pair,
    name: str = "certrotd test intermediate",
    *,
    not_before: datetime | None = None,
) -> Pair:
    """A CA signed by another one."""
    lifetime = timedelta(days=1825)
    return _issue(name, parent, is_ca=True, lifetime=lifetime, not_before=not_before)


def make_leaf(
    parent: Pair,
    *names: str,
    lifetime: timedelta = timedelta(days=1),
    not_before: datetime | None = None,
    key: Key | None = None,
) -> Pair:
    """A server certificate for DNS names and IP addresses, of a fresh key on a curve or ``key``."""
    return _issue(
        names[0],
        parent,
        is_ca=False,
        lifetime=lifetime,
        names=names,
        not_before=not_before,
        key=key,
    )


def make_client(parent: Pair, name: str, *groups: str) -> Pair:
    """A client's certificate: who it is, and as organizations the groups it is in."""
    return _issue(name, parent, is_ca=False, lifetime=timedelta(days=1), groups=groups)


def _issue(
    subject: str,
    parent: Pair | None,
    *,
    is_ca: bool,
    lifetime: timedelta,
    names: Sequence[str] = (),
    groups: Sequence[str] = (),
    not_before: datetime | None = None,
    key: Key | None = None,
) -> Pair:
    key = key or ec.generate_private_key(ec.SECP256R1())
    start = not_before or datetime.now(UTC) - timedelta(minutes=5)
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    name = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    issuer_key = parent.key if parent else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(parent.certificate.subject if parent else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(_key_usage(is_ca=is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(one) for one in names]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    # The root is the verifier's to have, so it is in nobody's chain.
    above = (
        []
        if parent is None or parent.certificate.issuer == parent.certificate.subject
        else [parent.certificate, *parent.intermediates]
    )
    return Pair(key, certificate, above)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
