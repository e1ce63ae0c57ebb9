"""Requests that somebody else made: what they are read as, and what is wrong with them."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrotd.errors import InvalidInput
from certrotd.pki import keys
from certrotd.pki.request import check_request, holder_of, is_request, read_request, to_pem
from certrotd.pki.verify import KeyMismatch, verify_key
from tests.builders import OTHER_PAIR, PAIR

KEY = keys.generate(keys.KeyType.ECDSA_P256)
NAMES = ("a.example.test", "*.example.test", "192.0.2.1")
DER = keys.signing_request(KEY, NAMES)


def named(common: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    """A request with nothing but a common name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_request_is_read_in_der_and_in_pem_with_text_before_it() -> None:
    """As openssl and appliances write them; kept, it is the same."""
    pem = to_pem(read_request(DER, what="csr"))
    for other in (
        pem,
        b"Subject: x\n" + pem,
        pem.replace(b"CERTIFICATE REQ", b"NEW CERTIFICATE REQ"),
    ):
        assert to_pem(read_request(other, what="csr")) == pem
    assert is_request(pem)
    assert not is_request(PAIR.key_pem)


def test_what_is_no_request_says_so() -> None:
    """A certificate or a key in its place is a mistake that is made; a key is never shown."""
    for other in (b"", b"x", PAIR.fullchain_pem, PAIR.key_pem, DER[:-1], b"0" * 70_000):
        with pytest.raises(InvalidInput, match=r"^the csr ") as told:
            read_request(other, what="the csr")
        assert "PRIVATE" not in str(told.value)


def test_a_request_that_its_own_key_did_not_sign_is_refused() -> None:
    """Whoever made it does not have the key that it asks a certificate for."""
    own = keys.spki(KEY.public_key())
    other = keys.spki(keys.generate(keys.KeyType.ECDSA_P256).public_key())
    with pytest.raises(InvalidInput, match="its signature is not of the key in it"):
        read_request(DER.replace(own, other), what="csr")


def test_a_request_is_for_exactly_the_names_of_the_certificate() -> None:
    """Any other would be refused by the CA when the order is spent."""
    request = read_request(DER, what="csr")
    check_request(request, NAMES, what="csr")
    with pytest.raises(InvalidInput, match=r"\+b\.example\.test -192\.0\.2\.1"):
        check_request(request, (*NAMES[:2], "b.example.test"), what="csr")
    key = ec.generate_private_key(ec.SECP256R1())
    only = read_request(named("A.example.test", key), what="csr")
    check_request(only, ("a.example.test",), what="csr")


def test_a_weak_key_is_refused() -> None:
    """As in a certificate."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    request = read_request(named("a.example.test", weak), what="csr")
    with pytest.raises(InvalidInput, match="RSA key has 1024 bits"):
        check_request(request, ("a.example.test",), what="csr")


def test_a_request_stands_for_its_key() -> None:
    """A certificate of another key is not the one that was asked for."""
    pem = to_pem(read_request(keys.signing_request(keys.load(PAIR.key_pem), NAMES), what="csr"))
    verify_key(holder_of(pem), PAIR.certificate)
    with pytest.raises(KeyMismatch, match="the private key of the request does not belong"):
        verify_key(holder_of(pem), OTHER_PAIR.certificate)
    assert holder_of(PAIR.key_pem).public_key() == PAIR.certificate.public_key()
