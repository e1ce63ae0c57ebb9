"""Certificate keys: generated, serialised, loaded, and matched with what they signed for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from certrotd.errors import InvalidInput
from certrotd.pki.foreign import foreign
from certrotd.pki.names import is_ip

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
MAX_KEY_BYTES = 64 * 1024


class KeyType(StrEnum):
    """The key types certrotd makes; each is accepted by the public CAs of the day."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"


def generate(key_type: KeyType) -> PrivateKey:
    """A fresh private key of ``key_type``."""
    match key_type:
        case KeyType.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.ECDSA_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            bits = int(key_type.value.removeprefix("rsa-"))
            return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def to_pem(key: PrivateKey) -> bytes:
    """``key`` as unencrypted PKCS#8 PEM (RFC 5958); the caller keeps it at mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load(data: bytes, *, what: str = "private key") -> PrivateKey:
    """Parse a PEM or DER private key of at most 64 KiB.

    ``what`` names the source in errors. Raises InvalidInput, never showing the content.
    """
    if len(data) > MAX_KEY_BYTES:
        raise InvalidInput(f"{what} is {len(data)} bytes, more than any private key")
    if not data.strip():
        raise InvalidInput(f"{what} is empty")
    with foreign(f"{what} cannot be read"):
        key = _load(data, what)
    if not isinstance(key, PrivateKey):
        raise InvalidInput(f"{what} is of a kind TLS servers do not use")
    return key


def _load(data: bytes, what: str) -> object:
    try:
        if b"-----BEGIN" in data:
            return serialization.load_pem_private_key(data, password=None)
        return serialization.load_der_private_key(data, password=None)
    except TypeError:
        raise InvalidInput(f"{what} is encrypted", hint="store it without a passphrase") from None
    except ValueError:
        raise InvalidInput(f"{what} is not a PEM or DER private key") from None
    except UnsupportedAlgorithm:
        raise InvalidInput(f"{what} is of a kind TLS servers do not use") from None


def spki(public: object) -> bytes:
    """The SubjectPublicKeyInfo of a public key in DER (RFC 5280 §4.1.2.7), for comparing keys."""
    der: bytes = public.public_bytes(  # type: ignore[attr-defined]  # every public key has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def key_digest(public: object) -> str:
    """The SHA-256 of a public key's spki(), in hex."""
    return hashlib.sha256(spki(public)).hexdigest()


def key_type_of(public: object) -> str:
    """A KeyType value, or a word for other keys (``ecdsa-secp521r1``, ``rsa-1024``)."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        known = {"secp256r1": "p256", "secp384r1": "p384"}
        return f"ecdsa-{known.get(public.curve.name, public.curve.name)}"
    if isinstance(public, rsa.RSAPublicKey):
        return f"rsa-{public.key_size}"
    if isinstance(public, ed25519.Ed25519PublicKey):
        return "ed25519"
    return type(public).__name__.strip("_").lower()


def signing_request(key: PrivateKey, names: Sequence[str]) -> bytes:
    """A certificate signing request for canonical ``names`` in DER (RFC 2986; RFC 8555 §7.4).

    All names are subject alternative names; the common name is left out, as the CA/Browser
    Forum discourages it and names over 64 characters do not fit one.
    """
    alternative: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(n)) if is_ip(n) else x509.DNSName(n) for n in names
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def common_name(name: x509.Name) -> str:
    """The common name of a subject or issuer, else its RFC 4514 string."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
