"""Private keys are read whole or refused, and never shown."""

import base64
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import InvalidInput
from certrotd.pki.keys import (
    MAX_KEY_BYTES,
    KeyType,
    generate,
    key_type_of,
    load,
    signing_request,
    spki,
    to_pem,
)
from tests.unit.pki.crafted import certificate, ec_key, pem, rsa_key

PEM = to_pem(ec_key())


@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.ECDSA_P384, KeyType.RSA_2048])
def test_a_key_is_what_was_asked_for_and_survives_its_file(key_type: KeyType) -> None:
    """The configuration's word for a key and the certificate's must be the same one."""
    key = generate(key_type)
    again = load(to_pem(key))
    assert key_type_of(key.public_key()) == key_type.value
    assert spki(again.public_key()) == spki(key.public_key())


def test_two_keys_of_a_type_are_different() -> None:
    """The negative control: equality of keys is not equality of their types."""
    first, second = generate(KeyType.ECDSA_P256), generate(KeyType.ECDSA_P256)
    assert spki(first.public_key()) != spki(second.public_key())


@pytest.mark.parametrize(
    "data",
    [
        PEM,
        PEM.replace(b"\n", b"\r\n"),
        PEM.rstrip(),
        b"Bag Attributes\n    friendlyName: web\n" + PEM,
        PEM + b"and some words after it\n",
        pem(certificate("a.example")) + PEM,
        PEM + pem(certificate("a.example")),
        ec_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        ec_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["pem", "crlf", "no-newline", "before", "after", "below", "above", "sec1", "der"],
)
def test_the_usual_shapes_of_a_key_file_are_read(data: bytes) -> None:
    """A pair is adopted as somebody else's tool left it."""
    assert spki(load(data).public_key()) == spki(ec_key().public_key())


def test_the_parameters_openssl_writes_before_a_key_are_passed_over() -> None:
    """`openssl ecparam -genkey` puts a block of its own first."""
    made = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey"], capture_output=True, check=True
    )
    assert b"EC PARAMETERS" in made.stdout
    assert key_type_of(load(made.stdout).public_key()) == "ecdsa-p256"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (PEM[:120], "is not a PEM or DER private key"),
        (PEM.replace(b"M", b"!"), "is not a PEM or DER private key"),
        (b"\x30\x82\x01", "is not a PEM or DER private key"),
        (pem(certificate("a.example")), "is not a PEM or DER private key"),
        (bytes(MAX_KEY_BYTES + 1), "more than any private key"),
        (PEM + bytes(MAX_KEY_BYTES), "more than any private key"),
    ],
)
def test_a_malformed_key_is_refused_with_the_reason(data: bytes, why: str) -> None:
    """A half-written key must not reach a service."""
    with pytest.raises(InvalidInput, match=why):
        load(data, what="web.key")


def test_a_hundred_megabytes_are_refused_before_they_are_looked_at() -> None:
    """The size alone says that it is no key (CVE-2024-12401)."""
    huge = memoryview(bytes(100 * 1024 * 1024))
    with pytest.raises(InvalidInput, match="104857600 bytes"):
        load(huge)  # type: ignore[arg-type]  # any look inside would need the methods of bytes


@pytest.mark.parametrize(
    "key",
    [
        ed448.Ed448PrivateKey.generate(),
        x25519.X25519PrivateKey.generate(),
    ],
)
def test_a_key_no_tls_server_uses_is_refused(
    key: ed448.Ed448PrivateKey | x25519.X25519PrivateKey,
) -> None:
    """It would be found out only when nginx refuses it."""
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidInput, match="of a kind TLS servers do not use"):
        load(data)


def test_a_key_on_an_unknown_curve_is_refused() -> None:
    """The library says so in an exception of its own, which is no ValueError."""
    made = subprocess.run(
        ["openssl", "ecparam", "-name", "sect163k1", "-genkey", "-noout"],
        capture_output=True,
        check=True,
    )
    with pytest.raises(InvalidInput, match="of a kind TLS servers do not use"):
        load(made.stdout)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_an_encrypted_key_is_refused_with_what_to_do(encoding: Encoding) -> None:
    """Nobody is there to type the passphrase."""
    data = ec_key().private_bytes(encoding, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(InvalidInput, match="is encrypted") as refused:
        load(data)
    assert refused.value.hint == "store it without a passphrase"


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_key_and_nothing_worse(data: bytes) -> None:
    """Whatever stands in the file, the answer is one line."""
    with pytest.raises(InvalidInput):
        load(data)


@given(st.integers(0, len(PEM) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_key_is_read_or_refused_and_never_shown(position: int, damage: bytes) -> None:
    """Bit rot and bad editors end in InvalidInput too, and the message keeps the secret."""
    try:
        load(PEM[:position] + damage + PEM[position:])
    except InvalidInput as refused:
        shown = str(refused)
        secret = PEM.splitlines()[1].decode()
        assert not any(secret[i : i + 12] in shown for i in range(len(secret) - 12))


@pytest.mark.parametrize("key", [ec_key(), rsa_key(), ed25519.Ed25519PrivateKey.generate()])
def test_a_request_names_everything_and_has_no_common_name(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    """Names over 64 characters fit no common name, and CAs take the alternative names."""
    long = "a" * 60 + ".example.test"
    der = signing_request(key, [long, "*.example.test", "192.0.2.1", "2001:db8::1"])
    request = x509.load_der_x509_csr(der)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert request.is_signature_valid
    assert list(request.subject) == []
    assert names.get_values_for_type(x509.DNSName) == [long, "*.example.test"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "192.0.2.1",
        "2001:db8::1",
    ]
    assert spki(request.public_key()) == spki(key.public_key())


def test_a_key_of_another_kind_has_a_word_of_its_own() -> None:
    """It is shown to people, and equals no key type that can be configured."""
    words = {
        key_type_of(ec.generate_private_key(ec.SECP521R1()).public_key()),
        key_type_of(rsa_key(1024).public_key()),
        key_type_of(ed25519.Ed25519PrivateKey.generate().public_key()),
        key_type_of(ed448.Ed448PrivateKey.generate().public_key()),
    }
    assert words == {"ecdsa-secp521r1", "rsa-1024", "ed25519", "ed448publickey"}
    assert not words & set(KeyType)


def test_a_key_has_no_useful_repr() -> None:
    """What is logged by accident must not be the key."""
    body = base64.b64encode(PEM).decode()
    assert PEM.decode().splitlines()[1] not in repr(load(PEM))
    assert body not in repr(load(PEM))
