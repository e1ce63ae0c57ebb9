"""Certificates are read whole or refused with the reason, whatever is in the file."""

import datetime as dt
import ipaddress
import re
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.errors import InvalidInput
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.facts import MAX_BYTES, facts_of, fingerprint, parse_certificates
from certrotd.pki.keys import to_pem
from tests.unit.pki.crafted import (
    NOW,
    SigningKey,
    bits_for_a_name,
    certificate,
    chain_of_three,
    ec_key,
    mask_missing,
    pem,
    rsa_key,
)

LEAF, MIDDLE, ROOT = chain_of_three()
CHAIN = pem(LEAF, MIDDLE)
MOMENTS = st.integers(-(10**9), 10**11).map(lambda s: dt.datetime.fromtimestamp(s, dt.UTC))
FACTS = st.builds(
    CertificateFacts,
    names=st.lists(st.text()).map(tuple),
    key_type=st.text(),
    subject=st.text(),
    issuer=st.text(),
    serial=st.text(),
    not_before=MOMENTS,
    not_after=MOMENTS,
    fingerprint=st.text(),
    is_ca=st.booleans(),
)


def test_the_facts_are_those_of_the_certificate() -> None:
    """Every decision rests on them."""
    facts = facts_of(LEAF)
    assert facts == CertificateFacts(
        names=("example.test",),
        key_type="ecdsa-p256",
        subject="leaf",
        issuer="middle",
        serial="1337",
        not_before=NOW - dt.timedelta(days=1),
        not_after=NOW + dt.timedelta(days=89),
        fingerprint=fingerprint(LEAF),
        is_ca=False,
    )
    assert facts_of(MIDDLE).is_ca
    assert facts.fingerprint != facts_of(MIDDLE).fingerprint


@pytest.mark.parametrize(
    "data",
    [
        CHAIN,
        CHAIN.replace(b"\n", b"\r\n"),
        CHAIN.rstrip(),
        b"subject=CN = leaf\nissuer=CN = middle\n" + CHAIN,
        CHAIN + b"\n# the end\n",
        pem(LEAF) + b"some words between\n" + pem(MIDDLE),
        to_pem(ec_key()) + CHAIN,
        pem(LEAF) + to_pem(ec_key()) + pem(MIDDLE),
        CHAIN.replace(b" CERTIFICATE", b" X509 CERTIFICATE"),
    ],
    ids=["plain", "crlf", "cut", "before", "after", "between", "combined", "key-inside", "x509"],
)
def test_the_usual_shapes_of_a_chain_file_are_read(data: bytes) -> None:
    """A pair is adopted, and inspected, as somebody else's tool left it."""
    assert parse_certificates(data) == [LEAF, MIDDLE]


def test_der_is_one_certificate() -> None:
    """A CA's download, and what a handshake gives."""
    der = LEAF.public_bytes(Encoding.DER)
    assert parse_certificates(der) == [LEAF]
    with pytest.raises(InvalidInput):
        parse_certificates(der + b"\0")


def test_the_order_and_repetition_of_a_file_are_kept() -> None:
    """Whether the chain is one is for verify_links to say."""
    assert parse_certificates(pem(ROOT, LEAF, LEAF)) == [ROOT, LEAF, LEAF]


def damaged(data: bytes) -> bytes:
    """PEM with the middle of its first block replaced."""
    return data[:80] + b"AAAA" + data[84:]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "web.pem is empty"),
        (b"\n \n", "web.pem is empty"),
        (CHAIN[:200], "web.pem is truncated"),
        (CHAIN[:-40], "web.pem is truncated"),
        (pem(LEAF) + b"-----BEGIN CERTIFICATE-----\n", "web.pem is truncated"),
        (pem(LEAF) + damaged(pem(MIDDLE)) + pem(ROOT), "is not an X.509 certificate"),
        (CHAIN[:60] + CHAIN, "is not an X.509 certificate"),
        (CHAIN.replace(b" CERT", b" TRUSTED CERT"), "is not an X.509 certificate"),
        (b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n", "is not an X.509"),
        (b"<html>502 Bad Gateway</html>", "has no certificate in it"),
        (LEAF.public_bytes(Encoding.DER)[:-1], "is not an X.509 certificate"),
        (to_pem(ec_key()), "has no certificate in it"),
        (pem(LEAF) * 33, "more than 32 certificates"),
        (bytes(MAX_BYTES + 1), "1048577 bytes"),
    ],
)
def test_a_malformed_chain_is_refused_with_the_reason(data: bytes, why: str) -> None:
    """A certificate that cannot be read whole is not taken in part."""
    with pytest.raises(InvalidInput, match=why) as refused:
        parse_certificates(data, what="web.pem")
    assert len(refused.value.message) < 300
    assert not re.search("ParseError|cryptography|Unable to load", str(refused.value))


def test_as_many_certificates_as_are_allowed_are_read() -> None:
    """The limit's other side."""
    assert len(parse_certificates(pem(LEAF) * 32)) == 32


def test_a_hundred_megabytes_are_refused_before_they_are_looked_at() -> None:
    """The size alone says that it is no chain (CVE-2024-12401)."""
    huge = memoryview(bytes(100 * 1024 * 1024))
    with pytest.raises(InvalidInput, match="104857600 bytes"):
        parse_certificates(huge)  # type: ignore[arg-type]  # a look inside would fail otherwise


@pytest.mark.parametrize(
    "line", [b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN X509 CERTIFICATE-----", b"-----BEGIN "]
)
def test_beginnings_without_an_end_cost_no_more_than_their_bytes(line: bytes) -> None:
    """A pattern that looks for the end from every beginning would take minutes here."""
    began = time.process_time()
    with pytest.raises(InvalidInput):
        parse_certificates(line * (MAX_BYTES // len(line)))
    assert time.process_time() - began < 1


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_no_certificate_and_nothing_worse(data: bytes) -> None:
    """Whatever a CA answers, the failure is one line."""
    with pytest.raises(InvalidInput):
        parse_certificates(data)


RICH = certificate(
    "a.example",
    subject="middle",
    issuer="root",
    is_ca=True,
    general_names=[x509.IPAddress(ipaddress.ip_address("192.0.2.1"))],
    extensions=[
        x509.NameConstraints([x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))], None),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ec_key(1).public_key()),
        x509.SubjectKeyIdentifier.from_public_key(ec_key().public_key()),
    ],
)


@settings(max_examples=500)
@given(st.data())
def test_a_damaged_certificate_is_refused_or_wholly_readable(data: st.DataObject) -> None:
    """Parts are decoded when first asked for: what is given out must not fail then."""
    der = bytearray(RICH.public_bytes(Encoding.DER))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        (read,) = parse_certificates(bytes(der))
    except InvalidInput:
        return
    except UserWarning:  # the library warns of a negative serial number and the like
        return
    assert facts_of(read).fingerprint == fingerprint(read)


def patched(old: bytes, new: bytes) -> bytes:
    """The DER of a certificate with one part replaced by another of the same length."""
    der = certificate("a.example").public_bytes(Encoding.DER)
    assert len(old) == len(new)
    assert der.count(old) == 1
    return der.replace(old, new)


@pytest.mark.parametrize(
    "der",
    [
        mask_missing("a.example"),
        bits_for_a_name("a.example"),
        patched(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
        patched(b"\x82\x09a.example", b"\x82\x09a.\xe9xample"),
        patched(b"\x06\x03\x55\x1d\x11", b"\x06\x03\x55\x1d\x13"),
        patched(
            b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x02"
        ),
        patched(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x7f"),
    ],
    ids=[
        "constraints-without-mask",
        "bit-string-for-a-name",
        "version",
        "name-not-ascii",
        "extension-twice",
        "unknown-curve",
        "unknown-key",
    ],
)
def test_a_part_that_cannot_be_decoded_refuses_the_whole(der: bytes) -> None:
    """Each is found by another exception of the library's, some of them no ValueError."""
    with pytest.raises(InvalidInput, match=r"unreadable part|not an X\.509"):
        parse_certificates(der)


def test_the_pem_inside_of_a_der_certificate_is_not_taken_for_it() -> None:
    """An impostor could carry the certificate that it is compared with in an extension."""
    inside = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), pem(LEAF))
    carrier = certificate("a.example", extensions=[inside])
    assert parse_certificates(carrier.public_bytes(Encoding.DER)) == [carrier]


def test_a_kind_of_name_that_the_library_does_not_know_refuses_the_whole() -> None:
    """An X.400 address is one; the library says so in an exception of its own."""
    strange = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x02\xa3\x00")
    with pytest.raises(InvalidInput, match="unreadable part"):
        parse_certificates(pem(certificate(extensions=[strange])))
    with pytest.raises(InvalidInput, match="unreadable part"):
        facts_of(certificate(extensions=[strange]))


def test_names_are_read_in_their_canonical_spelling() -> None:
    """They are compared with configured ones as text."""
    addresses = [
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.IPAddress(ipaddress.ip_address("2001:db8:0:0::1")),
    ]
    mixed = certificate("Example.TEST", "*.Example.test", general_names=addresses)
    assert facts_of(mixed).names == ("example.test", "*.example.test", "192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    "written",
    ["example.test ", " example.test", "example.test.", "192.0.2.1", "2001:db8::1", "..", ""],
)
def test_a_name_that_no_client_would_match_equals_no_wanted_name(written: str) -> None:
    """An address as a DNS name, or a blank beside a name, is not what TLS clients accept."""
    names = facts_of(certificate(written, "good.test")).names
    assert names == (f"DNS:{written}", "good.test")


def test_a_name_of_another_kind_is_passed_over() -> None:
    """A mailbox is nothing a TLS server is asked for."""
    mailbox = x509.RFC822Name("a@example.test")
    assert facts_of(certificate("a.test", general_names=[mailbox])).names == ("a.test",)


def test_a_certificate_without_names_has_none() -> None:
    """The common name does not count (RFC 9525 §6.4)."""
    assert facts_of(certificate(subject="example.test")).names == ()


def test_a_certificate_that_does_not_say_it_is_a_ca_is_none() -> None:
    """RFC 5280 §4.2.1.9: without the extension it must not sign others."""
    assert not facts_of(certificate(subject="old root", is_ca=None)).is_ca


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (ec_key(), "ecdsa-p256"),
        (rsa_key(2048), "rsa-2048"),
        (rsa_key(1024), "rsa-1024"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (ed448.Ed448PrivateKey.generate(), "ed448publickey"),
    ],
)
def test_the_key_type_is_in_the_words_of_the_configuration(key: SigningKey, word: str) -> None:
    """A change of the configured key is seen by comparing the two."""
    assert facts_of(certificate("a.example", key=key)).key_type == word


def test_hostile_words_of_a_certificate_are_one_line() -> None:
    """Its subject is printed in tables and logs."""
    facts = facts_of(certificate("a.example", subject="a\r\n\x1b[31mb", issuer="x\ny"))
    assert facts.subject.isprintable()
    assert facts.issuer == "x y"


def test_an_empty_subject_is_fine() -> None:
    """Public CAs leave it out (RFC 5280 §4.1.2.6)."""
    assert facts_of(certificate("a.example", subject="", issuer="ca")).subject == ""


@given(FACTS)
def test_facts_survive_their_json(facts: CertificateFacts) -> None:
    """They are remembered beside the files, so that these need not be parsed again."""
    assert CertificateFacts.from_json(facts.to_json()) == facts


@pytest.mark.parametrize("key", list(facts_of(LEAF).to_json()))
def test_facts_with_a_part_missing_are_refused(key: str) -> None:
    """Half a memory is none."""
    data = facts_of(LEAF).to_json()
    del data[key]
    with pytest.raises(KeyError):
        CertificateFacts.from_json(data)


@pytest.mark.parametrize("text", ["2026-06-01T12:00:00", "yesterday", ""])
def test_a_date_without_a_zone_is_refused(text: str) -> None:
    """It could not be compared with the clock."""
    with pytest.raises(ValueError, match=r"zone|isoformat"):
        CertificateFacts.from_json({**facts_of(LEAF).to_json(), "not_after": text})
