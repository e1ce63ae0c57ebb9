"""A pair in every shape that servers read, and back."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrotd.errors import InvalidInput
from certrotd.pki.facts import parse_certificates
from certrotd.stores.bundle import files_of, leaf_first, same_pkcs12, to_pkcs12
from tests.parts import pki

ROOT = pki.make_root()
CA = pki.make_intermediate(ROOT)
LOWER = pki.make_intermediate(CA, "lower")
PAIR = pki.make_leaf(LOWER, "a.example.test")
OTHER = pki.make_leaf(LOWER, "b.example.test")
KEY, CHAIN = PAIR.key_pem, PAIR.fullchain_pem


def pem(*pairs: pki.Pair) -> bytes:
    """Their certificates without those above."""
    return b"".join(pair.certificate.public_bytes(Encoding.PEM) for pair in pairs)


def test_every_file_of_a_bundle_holds_what_its_name_says() -> None:
    """HAProxy wants the key first; most others key and chain apart."""
    assert files_of(KEY, CHAIN) == {
        "privkey": KEY,
        "cert": pem(PAIR),
        "chain": pem(LOWER, CA),
        "fullchain": CHAIN,
        "combined": KEY + CHAIN,
    }


def test_a_leaf_alone_has_an_empty_chain() -> None:
    """A private CA may have no intermediate."""
    assert files_of(KEY, pem(PAIR))["chain"] == b""


@pytest.mark.parametrize(
    "key",
    [
        KEY.rstrip(),
        KEY.replace(b"\n", b"\r\n"),
        b"Bag Attributes\n" + KEY,
        KEY + CHAIN,
        PAIR.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        PAIR.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        + b"\n",
    ],
    ids=["no-newline", "crlf", "words", "combined", "der", "sec1"],
)
def test_a_key_comes_out_alone_and_with_its_line_end(key: bytes) -> None:
    """Without it, combined would have the key's end and the certificate's beginning in one line."""
    shapes = files_of(key, CHAIN)
    assert shapes["privkey"] == KEY
    assert shapes["combined"] == KEY + CHAIN


def test_text_beside_the_certificates_is_left_out() -> None:
    """Old servers choke on it."""
    words = b"subject=a\r\n" + CHAIN.replace(b"\n", b"\r\n") + b"the end"
    assert files_of(KEY, words)["fullchain"] == CHAIN


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("password", [b"", b"secret", "gehei\u00df".encode()])
def test_pkcs12_is_read_by_openssl(tmp_path: Path, password: bytes, legacy: bool) -> None:
    """And by Java and Windows, whose files it is for; it tells how it is encrypted."""
    path = tmp_path / "web.p12"
    path.write_bytes(to_pkcs12(KEY, CHAIN, name="web", password=password, legacy=legacy))
    argv = ["openssl", "pkcs12", "-in", str(path), "-nodes", "-info", "-passin", "stdin"]
    run = subprocess.run(argv, input=password + b"\n", capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    cipher = b"pbeWithSHA1And3-KeyTripleDES-CBC" if legacy else b"PBES2, PBKDF2, AES-256-CBC"
    assert run.stderr.count(cipher) == 2
    assert (b"MAC: sha1" if legacy else b"MAC: sha256") in run.stderr
    assert b"friendlyName: web" in run.stdout
    assert parse_certificates(run.stdout) == parse_certificates(CHAIN)
    assert KEY in run.stdout
    wrong = subprocess.run(argv, input=b"wrong\n", capture_output=True, check=False)
    assert wrong.returncode != 0


@pytest.mark.parametrize("password", [b"", b"secret"])
def test_pkcs12_is_known_again_by_its_pair(password: bytes) -> None:
    """Every writing of it is different, so its bytes tell nothing."""
    data = to_pkcs12(KEY, CHAIN, name="web", password=password)
    assert same_pkcs12(data, KEY, CHAIN, password=password)
    assert data != to_pkcs12(KEY, CHAIN, name="web", password=password)
    assert not same_pkcs12(data, OTHER.key_pem, OTHER.fullchain_pem, password=password)
    assert not same_pkcs12(data, KEY, pem(PAIR), password=password)
    assert not same_pkcs12(data, KEY, CHAIN, password=b"wrong")
    assert not same_pkcs12(data[:-9], KEY, CHAIN, password=password)
    assert not same_pkcs12(b"", KEY, CHAIN, password=password)
    assert not same_pkcs12(b"garbage", KEY, CHAIN, password=password)


def test_pkcs12_without_a_key_or_certificate_is_another() -> None:
    """A trust store in its place is not the pair."""
    argv = ["openssl", "pkcs12", "-export", "-nokeys", "-passout", "pass:secret"]
    made = subprocess.run(argv, input=CHAIN, capture_output=True, check=True)
    assert not same_pkcs12(made.stdout, KEY, CHAIN, password=b"secret")


@pytest.mark.parametrize(
    "blocks",
    [
        pem(PAIR, LOWER, CA),
        pem(CA, LOWER, PAIR),
        pem(OTHER, CA, PAIR, LOWER),
        pem(PAIR, PAIR, LOWER, LOWER, CA),
    ],
    ids=["ordered", "upside-down", "others-among", "twice"],
)
def test_the_chain_of_a_key_is_found_in_any_order(blocks: bytes) -> None:
    """What is adopted was put together by hand more often than not."""
    found = leaf_first(parse_certificates(blocks), KEY, what="web.pem")
    assert found == CHAIN


def test_a_root_in_the_file_ends_the_chain() -> None:
    """It issued itself, and must not be looked for for ever."""
    found = leaf_first(parse_certificates(pem(ROOT, CA, LOWER, PAIR)), KEY, what="web.pem")
    assert found == pem(PAIR, LOWER, CA, ROOT)


def test_a_chain_with_a_gap_ends_there() -> None:
    """Certificates that continue no link would be sent for nothing."""
    found = leaf_first(parse_certificates(pem(CA, PAIR)), KEY, what="web.pem")
    assert found == pem(PAIR)


def test_an_issuer_of_the_name_is_not_enough() -> None:
    """CAs have several keys under one name; the one that signed is wanted."""
    namesake = pki.make_intermediate(CA, "lower")
    found = leaf_first(parse_certificates(pem(namesake, PAIR, LOWER, CA)), KEY, what="web.pem")
    assert found == CHAIN


def test_certificates_without_the_keys_own_are_refused() -> None:
    """New key beside old certificate."""
    with pytest.raises(
        InvalidInput, match=r"web\.pem: no certificate in it belongs to the private"
    ):
        leaf_first(parse_certificates(pem(OTHER, LOWER, CA)), KEY, what="web.pem")
