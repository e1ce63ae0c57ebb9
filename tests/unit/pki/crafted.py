"""Certificates with one thing wrong each, which no CA of the tests would issue."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SigningKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """A P-256 key, the same one for the same number."""
    return _ec_key(number)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, the same one for the same size."""
    return _rsa_key(bits)


@cache
def _ec_key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def certificate(
    *names: str,
    key: SigningKey | None = None,
    signer: SigningKey | None = None,
    subject: str = "leaf",
    issuer: str | None = None,
    is_ca: bool | None = False,
    not_before: datetime = NOW - timedelta(days=1),
    not_after: datetime = NOW + timedelta(days=89),
    general_names: Sequence[x509.GeneralName] = (),
    extensions: Sequence[x509.ExtensionType] = (),
    critical: Sequence[x509.ExtensionType] = (),
    path_length: int | None = None,
) -> x509.Certificate:
    """A certificate of ``key`` (default: ec_key()) signed by ``signer`` (default: itself)."""
    key = key or ec_key()
    signer = signer or key
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(common_name(issuer or subject))
        .public_key(key.public_key())
        .serial_number(4919)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if is_ca is not None:
        constraints = x509.BasicConstraints(ca=is_ca, path_length=path_length)
        builder = builder.add_extension(constraints, critical=True)
    alternative = [*(x509.DNSName(name) for name in names), *general_names]
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    for extension in (*extensions, *critical):
        builder = builder.add_extension(extension, critical=extension in critical)
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer, None if edwards else hashes.SHA256())


def common_name(name: str) -> x509.Name:
    """A subject or issuer with a common name alone, or empty."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def pem(*certificates: x509.Certificate) -> bytes:
    """Their PEM blocks one after the other."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def chain_of_three() -> tuple[x509.Certificate, x509.Certificate, x509.Certificate]:
    """A leaf for example.test (key 0), its intermediate (key 1) and the root (key 2)."""
    root = certificate(key=ec_key(2), subject="root", is_ca=True)
    middle = certificate(
        key=ec_key(1), signer=ec_key(2), subject="middle", issuer="root", is_ca=True
    )
    leaf = certificate(
        "example.test", key=ec_key(0), signer=ec_key(1), subject="leaf", issuer="middle"
    )
    return leaf, middle, root


def key_usage(*allowed: str) -> x509.KeyUsage:
    """A key usage with these bits, in the library's words."""
    bits = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{bit: bit in allowed for bit in bits})


def signed_with(algorithm: hashes.HashAlgorithm, oid: str) -> x509.Certificate:
    """A certificate for a.test of rsa_key(), signed by it with a hash that the library refuses.

    ``oid`` is that of the signature in hex.
    """
    contents = certificate("a.test", key=rsa_key(), issuer="root").tbs_certificate_bytes
    sha256 = bytes.fromhex("06092a864886f70d01010b")
    named = _tlv(0x06, bytes.fromhex(oid))
    assert (contents.count(sha256), len(sha256)) == (1, len(named))
    contents = contents.replace(sha256, named)
    signature = rsa_key().sign(contents, padding.PKCS1v15(), algorithm)
    der = contents + _tlv(0x30, named + b"\x05\x00") + _tlv(0x03, b"\0" + signature)
    return x509.load_der_x509_certificate(_tlv(0x30, der))


def resigned(certificate: x509.Certificate, old: bytes, new: bytes) -> bytes:
    """The DER of a certificate of ec_key() with a part of its contents replaced, signed anew.

    Both parts are of the same length, and ``old`` comes once.
    """
    contents = certificate.tbs_certificate_bytes
    assert (contents.count(old), len(old)) == (1, len(new))
    return signed(contents.replace(old, new), ec_key())


def signed(contents: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DER of a certificate with these contents, whatever they are."""
    signature = key.sign(contents, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    return _tlv(0x30, contents + algorithm + _tlv(0x03, b"\0" + signature))


def _tlv(tag: int, value: bytes) -> bytes:
    """One value in DER."""
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + value


def mask_missing(*names: str) -> bytes:
    """The DER of a certificate with name constraints of an IP address that has no mask."""
    subtree = _tlv(0x30, _tlv(0x87, bytes([192, 0, 2, 1])))
    value = _tlv(0x30, _tlv(0xA0, subtree))
    constraints = x509.UnrecognizedExtension(x509.NameConstraints.oid, value)
    return certificate(*names, extensions=[constraints]).public_bytes(Encoding.DER)


def bits_for_a_name(*names: str) -> bytes:
    """The DER of a certificate whose subject's common name is a BIT STRING."""
    plain = certificate(*names, subject="subject-X", issuer="issuer")
    return resigned(plain, b"\x0c\x09subject-X", b"\x03\x09\x00ubject-X")
