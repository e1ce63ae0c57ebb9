"""The root of a private CA: made once, kept as a pair of files, never made anew over a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrotd.config.issuers import InternalEntry
from certrotd.errors import InvalidInput, NeedsOperator, listed
from certrotd.pki import keys
from certrotd.pki.constraints import permits as may_certify
from certrotd.pki.facts import MAX_BYTES, facts_of, parse_certificates
from certrotd.pki.names import canonical, is_ip

if TYPE_CHECKING:
    from certrotd.state.ports import Folder

KEY_FILE, CERTIFICATE_FILE = "root.key", "root.pem"


@dataclass(frozen=True)
class Root:
    """A root certificate and its key, which is kept out of repr."""

    certificate: x509.Certificate
    key: keys.PrivateKey = field(repr=False)


def make_root(entry: InternalEntry, *, now: datetime) -> Root:
    """A fresh self-signed root of path length 0 with the name constraints asked for."""
    key = keys.generate(keys.KeyType(entry.key))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, entry.common_name)])
    start = now.replace(microsecond=0) - entry.backdate
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + entry.root_lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if entry.permitted_names:
        builder = builder.add_extension(constraints(entry.permitted_names), critical=True)
    return Root(builder.sign(key, digest(key)), key)


def constraints(permitted: tuple[str, ...]) -> x509.NameConstraints:
    """Name constraints (RFC 5280 §4.2.1.10) that allow ``permitted`` and nothing else.

    A name form that no permitted subtree mentions is unconstrained by the RFC: where only DNS
    suffixes are permitted every IP address is excluded, and the other way round.
    """
    networks = [network for name in permitted if (network := _network(name))]
    suffixes = [canonical(name.lstrip("*.")) for name in permitted if not _network(name)]
    excluded: list[x509.GeneralName] = []
    if not networks:
        excluded += [x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))]
    if not suffixes:
        excluded.append(x509.DNSName(""))  # the empty suffix is every name's
    return x509.NameConstraints(
        permitted_subtrees=[
            *(x509.DNSName(suffix) for suffix in suffixes),
            *(x509.IPAddress(network) for network in networks),
        ],
        excluded_subtrees=excluded or None,
    )


def permits(root: x509.Certificate, name: str) -> bool:
    """Whether the root's own name constraints allow a canonical name."""
    try:
        found = root.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    general = x509.IPAddress(ip_address(name)) if is_ip(name) else x509.DNSName(name)
    return may_certify(found, general)


def load(folder: Folder) -> Root | None:
    """The root kept in ``folder``, None if there is not a trace of one.

    The pair is created whole, so a crash leaves both files or none, and a file that is missing was
    removed by somebody. Raises NeedsOperator then, and for files that cannot be read or do not
    belong together; DiskTrouble.
    """
    try:
        key_pem = folder.read(KEY_FILE, limit=keys.MAX_KEY_BYTES)
        pem = folder.read(CERTIFICATE_FILE, limit=MAX_BYTES)
        if key_pem is None and pem is None:
            return None
        if key_pem is None or pem is None:
            there, missing = KEY_FILE, CERTIFICATE_FILE
            if key_pem is None:
                there, missing = missing, there
            raise _unusable(folder, f"{folder.place} has a {there} and no {missing}")
        key = keys.load(key_pem, what=folder.where(KEY_FILE))
        certificate = parse_certificates(pem, what=folder.where(CERTIFICATE_FILE))[0]
        is_ca = facts_of(certificate).is_ca
    except InvalidInput as error:
        raise _unusable(folder, error.message) from None
    if not is_ca or keys.spki(certificate.public_key()) != keys.spki(key.public_key()):
        both = f"{KEY_FILE} and {CERTIFICATE_FILE} in {folder.place}"
        raise _unusable(folder, f"{both} are not one CA")
    return Root(certificate, key)


def refuse_another(place: str, name: str, issued: Sequence[str]) -> NeedsOperator:
    """Why no root is made by itself where one is lost that certificates are live of."""
    live = f"{listed(issued)} {'is' if len(issued) == 1 else 'are'} live of it"
    return NeedsOperator(
        f"the root of the CA {name} is gone from {place}, and {live}",
        hint=f"restore {place} from a backup; or `certrotd internal init {name}` makes a new "
        "root, which everything that trusts the old one (it ends chain.pem of those) must be given",
    )


def key_usage(*, signs_certificates: bool, encrypts: bool = False) -> x509.KeyUsage:
    """The key usage (RFC 5280 §4.2.1.3) of the root, or of a leaf (``encrypts``: RSA's)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=encrypts,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def digest(key: keys.PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash to sign with: as strong as the curve, none for Ed25519 (RFC 8410)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    wide = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256
    return hashes.SHA384() if wide else hashes.SHA256()


def keep(root: Root, folder: Folder) -> None:
    """Put a root where there is none; the caller holds the lock. Raises DiskTrouble."""
    pem = root.certificate.public_bytes(Encoding.PEM)
    folder.create({KEY_FILE: keys.to_pem(root.key), CERTIFICATE_FILE: pem})


def _unusable(folder: Folder, what: str) -> NeedsOperator:
    return NeedsOperator(
        what,
        hint=f"restore it from a backup; moving {folder.place} away starts a new CA "
        "nobody trusts yet",
    )


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name)
    except ValueError:
        return None
