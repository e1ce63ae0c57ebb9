"""What clients refuse is refused, fault by fault, as OpenSSL's own verifier does it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.errors import InvalidInput
from certrotd.pki.facts import parse_certificates
from certrotd.pki.path import ChainBroken, doubts, verify_path
from certrotd.pki.verify import verify
from tests.unit.pki.crafted import (
    NOW,
    certificate,
    common_name,
    ec_key,
    key_usage,
    pem,
    rsa_key,
    signed,
    signed_with,
)

Chain = Sequence[x509.Certificate]
SECOND = timedelta(seconds=1)
EDWARDS = ed25519.Ed25519PrivateKey.generate()
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
P224 = ec.generate_private_key(ec.SECP224R1())
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
POLICIES = x509.CertificatePolicies(
    [x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)]
)
SIGNS = key_usage("key_cert_sign", "crl_sign")
SERVER = x509.ExtendedKeyUsage([Purpose.SERVER_AUTH])
CLIENT = x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH])
ANY = x509.ExtendedKeyUsage([Purpose.ANY_EXTENDED_KEY_USAGE])


def leaf(*names: str, key: Any = None, signer: Any = None, **options: Any) -> x509.Certificate:
    """A server's certificate as CAs issue them, below ``middle``; with other things if asked."""
    signer = signer or ec_key(1)
    known: dict[str, Any] = {
        "issuer": "middle",
        "extensions": (
            SERVER,
            key_usage("digital_signature"),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
        ),
        **options,
    }
    names = names or ("a.test",) * ("general_names" not in options)
    return certificate(*names, key=key, signer=signer, **known)


def middle(*, key: Any = None, **options: Any) -> x509.Certificate:
    """A CA below ``root``, which nobody sends; with other things if asked."""
    known: dict[str, Any] = {
        "key": key or ec_key(1),
        "signer": ec_key(2),
        "subject": "middle",
        "issuer": "root",
        "is_ca": True,
        "critical": (SIGNS,),
        **options,
    }
    return certificate(**known)


def root(**options: Any) -> x509.Certificate:
    """The CA above ``middle``, where it is sent along."""
    known: dict[str, Any] = {"subject": "root", "is_ca": True, "critical": (SIGNS,), **options}
    return certificate(key=ec_key(2), **known)


def only(*names: str) -> x509.NameConstraints:
    """Name constraints that permit these DNS names."""
    return x509.NameConstraints([x509.DNSName(name) for name in names], None)


def but(*names: str) -> x509.NameConstraints:
    """Name constraints that exclude these DNS names."""
    return x509.NameConstraints(None, [x509.DNSName(name) for name in names])


def networks(*names: str) -> x509.NameConstraints:
    """Name constraints that permit these networks."""
    return x509.NameConstraints([x509.IPAddress(ip_network(name)) for name in names], None)


def address(text: str) -> x509.IPAddress:
    """An IP address as a name."""
    return x509.IPAddress(ip_address(text))


def directory(name: str) -> x509.NameConstraints:
    """Name constraints that permit what is below a common name."""
    return x509.NameConstraints([x509.DirectoryName(common_name(name))], None)


def identifier(number: int) -> x509.SubjectKeyIdentifier:
    """What tells CAs of one name apart."""
    return x509.SubjectKeyIdentifier.from_public_key(ec_key(number).public_key())


def issuer_identifier(number: int) -> x509.AuthorityKeyIdentifier:
    """Which of them has issued."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(ec_key(number).public_key())


def issuer_numbered(number: int, above: str) -> x509.AuthorityKeyIdentifier:
    """Which certificate has issued, by its number and who issued that one."""
    names = [x509.DirectoryName(common_name(above))]
    return x509.AuthorityKeyIdentifier(None, names, number)


def no_directory(name: str) -> x509.NameConstraints:
    """Name constraints that exclude what is below a common name."""
    return x509.NameConstraints(None, [x509.DirectoryName(common_name(name))])


LEAF, MIDDLE, ROOT = leaf(), middle(), root()
REFUSED: dict[str, tuple[Chain, str]] = {
    "issuer is no CA": ([LEAF, middle(is_ca=False)], "middle signed a certificate but is not"),
    "name not permitted": (
        [LEAF, middle(critical=(SIGNS, only("b.test", "a.test.b.test")))],
        r"middle may not certify a\.test \(its name constraints\)",
    ),
    "not critical": ([LEAF, middle(extensions=[only("b.test")])], "may not certify a.test"),
    "name excluded": ([LEAF, middle(critical=(SIGNS, but("test")))], "may not certify a.test"),
    "every name excluded": ([LEAF, middle(critical=(SIGNS, but("")))], "may not certify a.test"),
    "permitted below alone": (
        [LEAF, middle(critical=(SIGNS, only(".a.test")))],
        "may not certify a.test",
    ),
    "wildcard not permitted": (
        [leaf("*.a.test"), middle(critical=(SIGNS, only("b.a.test")))],
        r"may not certify \*\.a\.test",
    ),
    "address not permitted": (
        [
            leaf(general_names=[address("192.0.2.1")]),
            middle(critical=(SIGNS, networks("10.0.0.0/8", "2001:db8::/32"))),
        ],
        "may not certify 192.0.2.1",
    ),
    "subject not permitted": (
        [LEAF, middle(critical=(SIGNS, directory("another")))],
        "may not certify CN=leaf",
    ),
    "constraints of the root": (
        [LEAF, MIDDLE, root(critical=(SIGNS, only("b.test")))],
        "root may not certify a.test",
    ),
    "Ed25519, name not permitted": (
        [leaf(signer=EDWARDS), middle(key=EDWARDS, critical=(SIGNS, only("b.test")))],
        "may not certify a.test",
    ),
    "path length": (
        [LEAF, MIDDLE, root(path_length=0)],
        r"root allows 0 CAs below it, and there are 1 \(its path length\)",
    ),
    "issuer's key usage": (
        [LEAF, middle(critical=(key_usage("digital_signature"),))],
        "middle signed a certificate, and its key usage forbids it",
    ),
    "issuer's purpose": (
        [LEAF, middle(critical=(SIGNS,), extensions=(CLIENT,))],
        "middle may not issue for servers",
    ),
    "issuer's purpose, any": (
        [LEAF, middle(critical=(SIGNS,), extensions=(ANY,))],
        "middle may not issue for servers",
    ),
    "leaf's purpose": ([leaf(extensions=(CLIENT,)), MIDDLE], "leaf is not for servers"),
    "leaf's purpose, any": ([leaf(extensions=(ANY,)), MIDDLE], "leaf is not for servers"),
    "leaf's key usage": (
        [leaf(extensions=(key_usage("data_encipherment", "crl_sign"),)), MIDDLE],
        "leaf is not for TLS",
    ),
    "unknown critical extension": (
        [leaf(critical=(UNKNOWN,)), MIDDLE],
        "leaf has a critical extension that clients do not know: 1.2.3.4",
    ),
    "unknown critical extension above": (
        [LEAF, middle(critical=(SIGNS, UNKNOWN))],
        "middle has a critical extension that clients do not know",
    ),
    "critical key identifier": (
        [LEAF, middle(critical=(SIGNS, identifier(1)))],
        "middle has a critical extension that clients do not know: 2.5.29.14",
    ),
    "critical identifier of the issuer": (
        [leaf(critical=(issuer_identifier(1),), extensions=()), MIDDLE],
        "leaf has a critical extension that clients do not know: 2.5.29.35",
    ),
    "another key's identifier": (
        [leaf(extensions=(issuer_identifier(3),)), middle(extensions=(identifier(1),))],
        r"that another certificate issued it than middle \(its authority key identifier\)",
    ),
    "another's number": (
        [leaf(extensions=(issuer_numbered(5, "root"),)), MIDDLE],
        "leaf says that another certificate issued it",
    ),
    "another's issuer": (
        [leaf(extensions=(issuer_numbered(4919, "another"),)), MIDDLE],
        "leaf says that another certificate issued it",
    ),
    "issued to itself, by another key": (
        [leaf(issuer="root", extensions=()), middle(subject="root"), ROOT],
        "clients take root for a root: its issuer has the same name",
    ),
    "issued by its namesake": (
        [leaf(issuer="middle", subject="middle", extensions=()), MIDDLE],
        "clients take middle for a root",
    ),
    "subject like a name that is not permitted": (
        [
            leaf(subject="b.test", general_names=[address("192.0.2.1")]),
            middle(critical=(SIGNS, only("a.test"))),
        ],
        "middle may not certify b.test",
    ),
    "subject like an address, where names are constrained": (
        [
            leaf(subject="192.0.2.1", general_names=[address("192.0.2.1")]),
            middle(critical=(SIGNS, only("a.test"))),
        ],
        "middle may not certify 192.0.2.1",
    ),
    "spaces in an excluded subject": (
        [leaf(subject="my  leaf "), middle(critical=(SIGNS, no_directory(" My leaf")))],
        "middle may not certify CN=my  leaf",
    ),
    "weak issuer": (
        [leaf(signer=rsa_key(1024)), middle(key=rsa_key(1024))],
        "middle signed a certificate, and its RSA key has 1024 bits",
    ),
    "SHA-1": (
        [signed_with(hashes.SHA1(), "2a864886f70d010105"), certificate(key=rsa_key(), is_ca=True)],
        "leaf is signed with SHA-1, which clients refuse",
    ),
    "MD5": (
        [signed_with(hashes.MD5(), "2a864886f70d010104"), certificate(key=rsa_key(), is_ca=True)],
        "leaf is signed with MD5, which clients refuse",
    ),
}
ACCEPTED: dict[str, Chain] = {
    "plain": [LEAF, MIDDLE],
    "with its root": [LEAF, MIDDLE, ROOT],
    "straight from the root": [leaf(signer=ec_key(2), issuer="root"), ROOT],
    "alone": [certificate("a.test")],
    "alone, and a CA": [certificate("a.test", is_ca=True)],
    "bare": [certificate("a.test", signer=ec_key(1), issuer="middle"), middle(critical=())],
    "Ed25519 leaf": [leaf(key=EDWARDS), MIDDLE],
    "Ed25519 issuer": [leaf(signer=EDWARDS), middle(key=EDWARDS)],
    "P-384": [leaf(key=P384, signer=P384), middle(key=P384)],
    "P-521": [leaf(key=P521, signer=P521), middle(key=P521)],
    "P-224 issuer": [leaf(signer=P224), middle(key=P224)],
    "RSA": [leaf(key=rsa_key(), signer=rsa_key(3072)), middle(key=rsa_key(3072))],
    "wildcard": [leaf("*.a.test", "a.test"), MIDDLE],
    "addresses": [leaf(general_names=[address("192.0.2.1"), address("2001:db8::1")]), MIDDLE],
    "international": [leaf("xn--bcher-kva.test"), MIDDLE],
    "underscore": [leaf("_x.a.test"), MIDDLE],
    "no subject": [
        certificate(
            signer=ec_key(1),
            subject="",
            issuer="middle",
            critical=[x509.SubjectAlternativeName([x509.DNSName("a.test")])],
        ),
        MIDDLE,
    ],
    "permitted": [LEAF, middle(critical=(SIGNS, only("b.test", "test")))],
    "permitted below": [leaf("b.a.test"), middle(critical=(SIGNS, only(".a.test")))],
    "permitted underscore": [leaf("_x.a.test"), middle(critical=(SIGNS, only("a.test")))],
    "permitted wildcard": [leaf("*.a.test"), middle(critical=(SIGNS, only("a.test")))],
    "permitted subject": [LEAF, middle(critical=(SIGNS, directory("LEAF")))],
    "permitted address": [
        leaf(general_names=[address("192.0.2.1")]),
        middle(critical=(SIGNS, networks("192.0.2.0/24", "2001:db8::/32"))),
    ],
    "no address to constrain": [LEAF, middle(critical=(SIGNS, networks("192.0.2.0/24")))],
    "excluded beside": [LEAF, middle(critical=(SIGNS, but("b.test", "a.a.test")))],
    "path length": [LEAF, middle(path_length=0), root(path_length=1)],
    "issued to itself": [
        leaf(issuer="root"),
        middle(subject="root", extensions=(identifier(1), issuer_identifier(2))),
        root(path_length=0, extensions=(identifier(2),)),
    ],
    "number and name of the issuer": [leaf(extensions=(issuer_numbered(4919, "root"),)), MIDDLE],
    "identifier of one alone": [leaf(extensions=(issuer_identifier(3),)), MIDDLE],
    "subject like no name": [
        leaf(subject="b", general_names=[address("192.0.2.1")]),
        middle(critical=(SIGNS, only("a.test"))),
    ],
    "subject like a name, beside names": [
        leaf(subject="b.test"),
        middle(critical=(SIGNS, only("a.test"))),
    ],
    "purposes": [LEAF, middle(critical=(SIGNS,), extensions=(SERVER,))],
    "critical policies": [leaf(critical=(POLICIES,)), middle(critical=(SIGNS, POLICIES))],
    "RSA to decrypt": [
        leaf(key=rsa_key(), extensions=(key_usage("key_encipherment"), SERVER)),
        MIDDLE,
    ],
    "CA for a leaf": [leaf(is_ca=True), MIDDLE],
    "no key identifier": [leaf(extensions=(SERVER,)), MIDDLE],
}


def openssl(chain: Chain, directory: Path) -> bool:
    """Whether OpenSSL accepts a chain, for who trusts its last certificate."""
    paths = {}
    for what, part in (("leaf", chain[:1]), ("between", chain[1:-1]), ("top", chain[-1:])):
        paths[what] = directory / f"{what}.pem"
        paths[what].write_bytes(pem(*part))
    argv = ["openssl", "verify", "-purpose", "sslserver", "-partial_chain", "-auth_level", "2"]
    argv += ["-no-CApath", "-no-CAfile", "-no-CAstore", "-attime", str(int(NOW.timestamp()))]
    argv += ["-trusted", str(paths["top"])]
    if len(chain) > 2:
        argv += ["-untrusted", str(paths["between"])]
    ran = subprocess.run([*argv, str(paths["leaf"])], capture_output=True, text=True, check=False)
    assert "Error loading" not in ran.stderr, ran.stderr
    return ran.returncode == 0


@pytest.mark.parametrize(("chain", "why"), REFUSED.values(), ids=REFUSED)
def test_a_chain_that_openssl_refuses_is_refused_with_a_reason(
    chain: Chain, why: str, tmp_path: Path
) -> None:
    """A public client is the measure; whoever reads it learns what to tell the CA."""
    assert not openssl(chain, tmp_path)
    with pytest.raises(ChainBroken, match=why):
        verify_path(chain)


@pytest.mark.parametrize("chain", ACCEPTED.values(), ids=ACCEPTED)
def test_a_chain_that_openssl_accepts_is_accepted(chain: Chain, tmp_path: Path) -> None:
    """Private CAs issue what the web's rules do not know, and their clients take it."""
    assert openssl(chain, tmp_path)
    verify_path(chain)


@pytest.mark.parametrize("fault", ["name not permitted", "leaf's purpose", "path length"])
def test_a_chain_that_clients_refuse_is_refused(fault: str) -> None:
    """An issued bundle passes it before the swap."""
    chain, why = REFUSED[fault]
    with pytest.raises(ChainBroken, match=why):
        verify(ec_key(), chain, ["a.test"], now=NOW)


@pytest.mark.parametrize("lifetime", [timedelta(0), -SECOND])
def test_a_certificate_without_a_lifetime_is_refused(lifetime: timedelta) -> None:
    """It begins within the skew that is allowed, and has ended by then."""
    begins = NOW + timedelta(minutes=2)
    built = leaf(not_before=begins, not_after=begins + max(lifetime, timedelta(0)))
    with pytest.raises(InvalidInput, match="it ends as soon as it begins"):
        verify(ec_key(), [built, MIDDLE], ["a.test"], now=NOW)
    living = leaf(not_before=begins, not_after=begins + SECOND)
    verify(ec_key(), [living, MIDDLE], ["a.test"], now=NOW)


@pytest.mark.parametrize("now", [NOW - timedelta(days=9), NOW, NOW + timedelta(days=900)])
def test_dates_are_none_of_the_path_s_affair(now: Any) -> None:
    """They are told by themselves, and an expired chain may have another fault besides."""
    past = {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=8)}
    for chain in ([LEAF, MIDDLE, ROOT], [leaf(**past), MIDDLE]):
        verify_path(chain)
        assert doubts(chain, now=now) == ""
    with pytest.raises(ChainBroken):
        verify_path([leaf(critical=(UNKNOWN,), **past), MIDDLE])


DOUBTFUL: dict[str, tuple[Chain, str]] = {
    "CA for a leaf": (ACCEPTED["CA for a leaf"], r"leaf: it is a CA's certificate \(CA:TRUE\)"),
    "CA alone": (ACCEPTED["alone, and a CA"], r"leaf: it is a CA's certificate \(CA:TRUE\)"),
    "key usage": (ACCEPTED["RSA to decrypt"], "leaf: its key usage lacks digitalSignature"),
    "key identifier": (ACCEPTED["no key identifier"], "of leaf: authorityKeyIdentifier"),
    "Ed25519": (ACCEPTED["Ed25519 issuer"], "browsers do not know the Ed25519 key of middle"),
    "P-224": (ACCEPTED["P-224 issuer"], "browsers do not know the curve secp224r1 of middle"),
}


@pytest.mark.parametrize(("chain", "why"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_chain_that_some_clients_refuse_is_a_warning(chain: Chain, why: str) -> None:
    """It is deployed, and said."""
    verify_path(chain)
    assert re.match(f"some clients refuse .*{why}", doubts(chain, now=NOW))


SOUND = ("plain", "with its root", "straight from the root", "alone", "Ed25519 leaf", "P-384")


@pytest.mark.parametrize("which", [*SOUND, "RSA", "wildcard", "addresses", "international"])
def test_a_chain_as_public_cas_issue_it_is_not_doubted(which: str) -> None:
    """A warning that is always there is none."""
    assert doubts(ACCEPTED[which], now=NOW) == ""


@settings(max_examples=500, deadline=None)
@given(st.data(), st.booleans())
def test_a_damaged_chain_is_judged_or_refused_with_a_reason(
    data: st.DataObject, above: bool
) -> None:
    """Whoever is watched chooses what it says, and signs it: nothing else may come of that."""
    rich = leaf(general_names=[address("192.0.2.1")], critical=(POLICIES,))
    strict = middle(critical=(SIGNS, only("test"), POLICIES), path_length=0, extensions=(SERVER,))
    contents = bytearray((strict if above else rich).tbs_certificate_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    try:
        [damaged] = parse_certificates(signed(bytes(contents), ec_key(2 if above else 1)))
        chain = [rich, damaged] if above else [damaged, strict]
        verify_path(chain)
        doubts(chain, now=NOW)
    except (InvalidInput, UserWarning):  # the library warns of a negative serial number
        pass


@pytest.mark.parametrize("name", ["a b.test", "", "..", "*", "*.*.test", "-", "a" * 70, "x" * 300])
def test_a_name_that_nobody_asks_for_is_no_reason_to_fail(name: str) -> None:
    """The library refuses to look for it, in an exception of its own."""
    verify_path([leaf(name), MIDDLE])
    assert doubts([leaf(name), MIDDLE], now=NOW) == ""
