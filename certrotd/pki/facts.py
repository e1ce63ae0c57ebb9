"""From PEM and DER to what a certificate says: the only parser of certificates."""

from __future__ import annotations

import re
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certrotd.errors import InvalidInput, one_line
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.foreign import foreign
from certrotd.pki.keys import common_name, key_type_of
from certrotd.pki.names import canonical, is_ip

__all__ = ["CertificateFacts", "facts_of", "fingerprint", "parse_certificates"]

MAX_BYTES = 1024 * 1024
MAX_CERTIFICATES = 32
_BEGIN = re.compile(rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----")


def parse_certificates(data: bytes, *, what: str = "certificate") -> list[x509.Certificate]:
    """Every certificate in PEM text (other blocks are passed over) or one DER certificate.

    At most 1 MiB and 32 certificates; ``what`` names the source in errors. Raises InvalidInput.
    Every part of what is given back has been read once, so facts_of cannot fail on it.
    """
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{what} is {len(data)} bytes, more than any certificate chain")
    if not data.strip():
        raise InvalidInput(f"{what} is empty")
    # what stands inside of DER is its author's to choose, and may be the PEM of another one
    blocks = [] if _is_der(data) else _blocks(data, what)
    if not blocks and not _is_der(data):
        hint = "perhaps it is the private key" if b"-----BEGIN " in data else "PEM or DER is needed"
        raise InvalidInput(f"{what} has no certificate in it", hint=hint)
    with foreign(f"{what} is not an X.509 certificate"):
        if blocks:
            certificates = [_loaded(block) for block in blocks]
        else:
            certificates = [x509.load_der_x509_certificate(data)]
    for certificate in certificates:
        facts_of(certificate, what=what)
    return certificates


def facts_of(certificate: x509.Certificate, *, what: str = "certificate") -> CertificateFacts:
    """The facts of one parsed certificate; InvalidInput if a part of it cannot be read."""
    with foreign(f"{what} has an unreadable part"):
        return _read(certificate)


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate's DER in lower hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


# The steps of one rotation come back to the same certificates a dozen times, all rotations to the
# same intermediates; neither bytes nor certificates can change.
_loaded = lru_cache(maxsize=64)(x509.load_pem_x509_certificate)


@lru_cache(maxsize=64)
def _read(certificate: x509.Certificate) -> CertificateFacts:
    extensions = certificate.extensions
    return CertificateFacts(
        names=_names(extensions),
        key_type=key_type_of(certificate.public_key()),
        subject=one_line(common_name(certificate.subject)),
        issuer=one_line(common_name(certificate.issuer)),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=fingerprint(certificate),
        is_ca=_is_ca(extensions),
        authority_key=_authority_key(extensions),
    )


def _is_der(data: bytes) -> bool:
    """Whether it begins as a SEQUENCE of more than 127 bytes does, and no text."""
    return len(data) > 1 and data[0] == 0x30 and data[1] > 0x80


def _blocks(data: bytes, what: str) -> list[bytes]:
    """The certificates of PEM text, in time linear in its size whatever is in it."""
    blocks: list[bytes] = []
    position = 0
    while begin := _BEGIN.search(data, position):
        if len(blocks) == MAX_CERTIFICATES:
            raise InvalidInput(f"{what} has more than {MAX_CERTIFICATES} certificates")
        end = b"-----END " + begin[1] + b"CERTIFICATE-----"
        found = data.find(end, begin.end())
        if found < 0:
            raise InvalidInput(f"{what} is truncated: no END CERTIFICATE line")
        position = found + len(end)
        blocks.append(data[begin.start() : position])
    return blocks


def _is_ca(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _authority_key(extensions: x509.Extensions) -> str:
    try:
        found = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    return (found.key_identifier or b"").hex()


def _names(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = []
    for name in alternative:
        if isinstance(name, x509.DNSName):
            names.append(_dns_name(name.value))
        elif isinstance(name, x509.IPAddress):
            names.append(str(name.value))
    return tuple(names)


def _dns_name(value: str) -> str:
    """Its canonical spelling; what no client would match is shown so that it equals no name.

    Such as an IP address that is no iPAddress (RFC 6125 §6.4), or a name with a blank beside it.
    """
    try:
        name = canonical(value)
    except InvalidInput:
        name = ""
    matched = name and name == value.lower() and not is_ip(name)
    return name if matched else f"DNS:{one_line(value)}"
