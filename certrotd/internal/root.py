"""The root of a private CA: made once, kept as a pair of files, never made anew over a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrotd.config.issuers import InternalEntry
from certrotd.errors import InvalidInput, NeedsOperator, listed
from certrotd.files.reading import is_there, read_file
from certrotd.files.writing import TEMPORARY, create_files, make_directory, remove_tree, rename
from certrotd.pki import keys
from certrotd.pki.constraints import permits as may_certify
from certrotd.pki.facts import MAX_BYTES, facts_of, parse_certificates
from certrotd.pki.names import canonical, is_ip

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


def load(folder: Path) -> Root | None:
    """The root kept in ``folder``, None if there is not a trace of one.

    The pair appears by one rename of its folder, so a crash leaves both files or none, and a
    file that is missing was removed by somebody. Raises NeedsOperator then, and for files that
    cannot be read or do not belong together; DiskTrouble.
    """
    present = [name for name in (KEY_FILE, CERTIFICATE_FILE) if is_there(folder / name)]
    if not present:
        return None
    if len(present) == 1:
        missing = CERTIFICATE_FILE if KEY_FILE in present else KEY_FILE
        raise _unusable(folder, f"{folder} has a {present[0]} and no {missing}")
    try:
        key_file, certificate_file = folder / KEY_FILE, folder / CERTIFICATE_FILE
        data = read_file(key_file, limit=keys.MAX_KEY_BYTES, follow=False)
        key = keys.load(data, what=str(key_file))
        data = read_file(certificate_file, limit=MAX_BYTES)
        certificate = parse_certificates(data, what=str(certificate_file))[0]
        is_ca = facts_of(certificate).is_ca
    except InvalidInput as error:
        raise _unusable(folder, error.message) from None
    if not is_ca or keys.spki(certificate.public_key()) != keys.spki(key.public_key()):
        raise _unusable(folder, f"{KEY_FILE} and {CERTIFICATE_FILE} in {folder} are not one CA")
    return Root(certificate, key)


def refuse_another(folder: Path, name: str, issued: Sequence[str]) -> NeedsOperator:
    """Why no root is made by itself where one is lost that certificates are live of."""
    live = f"{listed(issued)} {'is' if len(issued) == 1 else 'are'} live of it"
    return NeedsOperator(
        f"the root of the CA {name} is gone from {folder}, and {live}",
        hint=f"restore {folder} from a backup; or `certrotd internal init {name}` makes a new "
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


def keep(root: Root, folder: Path) -> None:
    """Put a root where there is none; the caller holds the lock. Raises DiskTrouble."""
    make_directory(folder.parent, mode=0o700)
    staging = folder.with_name(f".{folder.name}{TEMPORARY}")
    remove_tree(staging)  # a crash left it
    make_directory(staging, mode=0o700)
    pem = root.certificate.public_bytes(Encoding.PEM)
    files = [(KEY_FILE, keys.to_pem(root.key), 0o600), (CERTIFICATE_FILE, pem, 0o644)]
    create_files(staging, files, sync=True)
    rename(staging, folder)


def _unusable(folder: Path, what: str) -> NeedsOperator:
    return NeedsOperator(
        what,
        hint=f"restore it from a backup; moving {folder} away starts a new CA nobody trusts yet",
    )


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(name)
    except ValueError:
        return None
