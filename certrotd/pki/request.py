"""A certificate signing request made elsewhere, with the key that never leaves there (RFC 2986).

It stands where the private key of a certificate would be: it has the public key, and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrotd.errors import InvalidInput
from certrotd.pki.foreign import foreign
from certrotd.pki.keys import MAX_KEY_BYTES, PrivateKey, load
from certrotd.pki.names import canonical
from certrotd.pki.path import weakness

Holder = PrivateKey | x509.CertificateSigningRequest
"""Who has a public key: its private key, or the request of somebody who has that."""
_BEGINS = (b"-----BEGIN CERTIFICATE REQUEST-----", b"-----BEGIN NEW CERTIFICATE REQUEST-----")


def is_request(pem: bytes) -> bool:
    """Whether what stands where a key would be is a request."""
    return pem.lstrip().startswith(_BEGINS)


def holder_of(pem: bytes, *, what: str = "private key") -> Holder:
    """The private key or the request in a PEM; raises InvalidInput, never showing a key."""
    return read_request(pem, what=what) if is_request(pem) else load(pem, what=what)


def read_request(data: bytes, *, what: str) -> x509.CertificateSigningRequest:
    """A request in PEM or DER whose signature is its own key's; raises InvalidInput."""
    if len(data) > MAX_KEY_BYTES:
        raise InvalidInput(f"{what} is {len(data)} bytes, more than any request")
    begins = next((data.find(each) for each in _BEGINS if each in data), -1)
    try:
        with foreign(f"{what} cannot be read"):
            if begins >= 0:
                request = x509.load_pem_x509_csr(data[begins:])
            else:
                request = x509.load_der_x509_csr(data)
            signed = request.is_signature_valid
    except ValueError:
        raise InvalidInput(f"{what} is not a certificate signing request") from None
    if not signed:
        raise InvalidInput(f"{what}: its signature is not of the key in it")
    return request


def check_request(
    request: x509.CertificateSigningRequest, names: Sequence[str], *, what: str
) -> None:
    """It asks for exactly the canonical ``names``, with a key that is not weak.

    Raises InvalidInput with what does not fit. A common name must be one of them.
    """
    if why := weakness(request.public_key()):
        raise InvalidInput(f"{what}: the {why}")
    found = set()
    for each in _names(request, what):
        try:
            found.add(canonical(each))
        except InvalidInput as error:
            raise InvalidInput(f"{what} has a name in it: {error.message}") from None
    missing, extra = sorted(set(names) - found), sorted(found - set(names))
    if missing or extra:
        changes = [f"+{each}" for each in missing] + [f"-{each}" for each in extra]
        raise InvalidInput(
            f"{what} is for other names than the certificate: {' '.join(changes)}",
            hint="make a new request, or correct the names of the certificate",
        )


def to_pem(request: x509.CertificateSigningRequest) -> bytes:
    """The request as PEM, the same whatever it came as."""
    return request.public_bytes(Encoding.PEM)


def digest(pem: bytes) -> str:
    """What a request is told from another by: the SHA-256 of its to_pem(), in hex."""
    return hashlib.sha256(pem).hexdigest()


def _names(request: x509.CertificateSigningRequest, what: str) -> list[str]:
    with foreign(f"{what} cannot be read"):
        extensions = [each.value for each in request.extensions]
        common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = [str(each.value) for each in common]
    for alternative in extensions:
        if not isinstance(alternative, x509.SubjectAlternativeName):
            continue
        for each in alternative:
            if not isinstance(each, x509.DNSName | x509.IPAddress):
                kind = type(each).__name__
                raise InvalidInput(
                    f"{what} asks for a {kind} besides its names, and the CA would refuse it",
                    hint="make a new request with DNS names and IP addresses alone",
                )
            found.append(str(each.value))
    return found
