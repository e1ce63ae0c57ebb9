"""The private CA: its certificates hold with OpenSSL, its root is made once and never lost."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import Clock, Deadline, ManualClock
from certrotd.config.context import Surroundings
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.internal.issuer import InternalIssuer, sign_leaf
from certrotd.internal.root import (
    Root,
    constraints,
    keep,
    load,
    make_root,
    permits,
)
from certrotd.pki import keys
from certrotd.pki.facts import facts_of, parse_certificates
from certrotd.pki.order import OrderGone
from certrotd.pki.path import doubts, verify_path
from certrotd.pki.verify import verify
from tests.builders import soon
from tests.unit.internal.made import ENTRY, context

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
NAMES = ("www.example.test", "*.example.test", "192.0.2.7", "2001:db8::7")
PROCESS = """
import sys
from pathlib import Path
from certrotd.clock import Deadline, SystemClock
from certrotd.internal.issuer import InternalIssuer
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import InternalEntry
from certrotd.state.directory import StateDirectory
clock = SystemClock()
state = Path(sys.argv[1])
folder = StateDirectory(state, command="x", now=clock.now).folder("internal/inside")
context = IssuerContext("inside", state, clock, folder=folder)
InternalIssuer(InternalEntry(type="internal"), context).preflight(deadline=Deadline(clock, 60))
"""


def issuer(state_dir: Path, clock: Clock | None = None, **changes: object) -> InternalIssuer:
    return InternalIssuer(ENTRY.model_copy(update=changes), context(state_dir, clock))


def obtain(
    source: InternalIssuer, names: Sequence[str] = NAMES
) -> tuple[keys.PrivateKey, list[x509.Certificate]]:
    key = keys.generate(keys.KeyType.ECDSA_P256)
    order = source.order(names, deadline=soon())
    return key, parse_certificates(order.finalize(keys.signing_request(key, names)))


def shake(
    tmp_path: Path, key: keys.PrivateKey, leaf: x509.Certificate, root: x509.Certificate, name: str
) -> None:
    """A TLS handshake in memory between OpenSSL's two sides; raises ssl.SSLError."""
    pair = tmp_path / "pair.pem"
    pair.write_bytes(keys.to_pem(key) + leaf.public_bytes(Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=root.public_bytes(Encoding.PEM).decode())
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(one, two, server_side=True),
        client.wrap_bio(two, one, server_hostname=name),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("key_type", [keys.KeyType.ECDSA_P256, keys.KeyType.ECDSA_P384])
@pytest.mark.parametrize("name", ["www.example.test", "any.example.test", "192.0.2.7"])
def test_an_issued_certificate_is_accepted_by_openssl(
    tmp_path: Path, key_type: keys.KeyType, name: str
) -> None:
    """Strictly checked, for each kind of name."""
    key, (leaf, root) = obtain(issuer(tmp_path, key=key_type))
    verify_path([leaf, root])
    assert doubts([leaf, root], now=datetime.now(UTC)) == ""
    shake(tmp_path, key, leaf, root, name)
    with pytest.raises(ssl.SSLError, match="mismatch"):
        shake(tmp_path, key, leaf, root, "www.elsewhere.test")


def test_an_rsa_root_certifies_rsa_keys(tmp_path: Path) -> None:
    """For clients that know nothing else."""
    key = keys.generate(keys.KeyType.RSA_2048)
    order = issuer(tmp_path, key=keys.KeyType.RSA_2048).order(NAMES, deadline=soon())
    leaf, root = parse_certificates(order.finalize(keys.signing_request(key, NAMES)))
    shake(tmp_path, key, leaf, root, "www.example.test")
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment


def test_the_leaf_is_made_as_the_profile_says(tmp_path: Path) -> None:
    """RFC 5280: what clients look at, and what keeps a leaf from being a CA."""
    _, (leaf, root) = obtain(issuer(tmp_path))
    extension = leaf.extensions.get_extension_for_class
    assert extension(x509.BasicConstraints).value.ca is False
    purposes = extension(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    above = extension(x509.AuthorityKeyIdentifier).value.key_identifier
    ski = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert above == ski.digest
    assert 0 < leaf.serial_number < 2**159
    assert facts_of(leaf).names == NAMES
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)


def test_a_name_too_long_for_a_subject_is_certified_without_one(tmp_path: Path) -> None:
    """A common name has 64 characters (RFC 5280 appendix A); the SAN is critical then."""
    name = "x" * 60 + ".example.test"
    key, (leaf, root) = obtain(issuer(tmp_path), [name])
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    shake(tmp_path, key, leaf, root, name)


def test_dates_are_backdated_and_never_outlive_the_root(tmp_path: Path) -> None:
    """Clocks are behind here and there; a leaf beyond its root fails on the root's last day."""
    clock = ManualClock(NOW)
    source = issuer(tmp_path, clock, root_lifetime=timedelta(days=10))
    _, (leaf, root) = obtain(source)
    assert leaf.not_valid_before_utc == NOW - ENTRY.backdate
    assert leaf.not_valid_after_utc == NOW + ENTRY.lifetime
    clock.advance(timedelta(days=8))
    _, (leaf, root) = obtain(source)
    assert leaf.not_valid_after_utc == root.not_valid_after_utc


def test_a_dry_run_makes_no_root_and_finds_one_that_ends(tmp_path: Path) -> None:
    """The root is what everybody will have to trust; a rehearsal is no reason to make it."""
    clock = ManualClock(NOW)
    source = issuer(tmp_path, clock, root_lifetime=timedelta(days=10))
    source.preflight(deadline=Deadline(clock, 60), dry=True)
    assert list(tmp_path.iterdir()) == []
    obtain(source)
    source.preflight(deadline=Deadline(clock, 60), dry=True)
    clock.advance(timedelta(days=9, hours=1))
    with pytest.raises(NeedsOperator, match="ends at 2030-01-11"):
        source.preflight(deadline=Deadline(clock, 60), dry=True)


def test_a_root_about_to_end_is_reported_a_day_before(tmp_path: Path) -> None:
    """Certificates of hours would be rotated again and again, and then be nobody's."""
    clock = ManualClock(NOW)
    source = issuer(tmp_path, clock, root_lifetime=timedelta(days=10))
    obtain(source)
    clock.advance(timedelta(days=9, minutes=-6))
    obtain(source)
    clock.advance(timedelta(minutes=2))
    with pytest.raises(NeedsOperator, match="ends at 2030-01-11 11:55:00Z") as failure:
        source.order(NAMES, deadline=soon())
    assert "move" in failure.value.hint


@pytest.mark.parametrize(
    ("permitted", "fine", "refused"),
    [
        (("example.test",), "www.example.test", "www.elsewhere.test"),
        (("example.test",), "example.test", "notexample.test"),
        (("example.test",), "www.example.test", "192.0.2.7"),
        (("*.example.test", "192.0.2.0/24"), "192.0.2.7", "198.51.100.7"),
        (("192.0.2.0/24",), "192.0.2.7", "www.example.test"),
        (("192.0.2.0/24",), "192.0.2.7", "2001:db8::7"),
        (("2001:db8::/32",), "2001:db8::7", "192.0.2.7"),
    ],
)
def test_name_constraints_hold_here_and_in_openssl(
    tmp_path: Path, permitted: tuple[str, ...], fine: str, refused: str
) -> None:
    """A stolen root key must not certify the bank's name (RFC 5280 §4.2.1.10)."""
    source = issuer(tmp_path, permitted_names=permitted)
    key, (leaf, root) = obtain(source, [fine])
    shake(tmp_path, key, leaf, root, fine)
    found = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical

    with pytest.raises(NeedsOperator, match=f"may not certify {refused}"):
        source.order([refused], deadline=soon())
    stolen = keys.load((tmp_path / "internal/inside/root.key").read_bytes())
    csr = x509.load_der_x509_csr(keys.signing_request(key, [refused]))
    forged = sign_leaf(Root(root, stolen), csr, [refused], ENTRY, datetime.now(UTC))
    with pytest.raises(ssl.SSLError, match="subtree violation"):
        shake(tmp_path, key, forged, root, refused)


def test_a_wildcard_is_permitted_with_its_parent() -> None:
    """And not under another one."""
    root = make_root(
        ENTRY.model_copy(update={"permitted_names": ("example.test",)}), now=NOW
    ).certificate
    assert permits(root, "*.example.test")
    assert not permits(root, "*.elsewhere.test")


@given(st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,9}){1,3}", fullmatch=True))
def test_without_constraints_every_name_is_permitted(name: str) -> None:
    """The default root is for trying out."""
    assert permits(_PLAIN, name)
    only = constraints(("example.test",))
    assert only.excluded_subtrees is not None


def test_files_are_made_for_the_owner_and_found_again(tmp_path: Path) -> None:
    """Both at 0600: the certificate is copied to whoever has to trust it."""
    source = issuer(tmp_path)
    source.preflight(deadline=soon())
    folder = tmp_path / "internal/inside"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"root.key": 0o600, "root.pem": 0o600}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _, (_, root) = obtain(issuer(tmp_path))
    assert root.public_bytes(Encoding.PEM) == before["root.pem"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_threads_and_processes_make_one_root(tmp_path: Path) -> None:
    """Two roots of one name would each be distrusted by half of the clients."""
    issuers = [issuer(tmp_path) for _ in range(4)]
    argv = [sys.executable, "-c", PROCESS, str(tmp_path)]
    running = [subprocess.Popen(argv) for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        roots = {pair[1][1] for pair in pool.map(lambda n: obtain(issuers[n % 4]), range(12))}
    assert [process.wait(timeout=100) for process in running] == [0, 0, 0]
    assert len(roots) == 1
    assert roots == {obtain(issuer(tmp_path))[1][1]}


def test_a_crash_while_the_root_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files appear by one rename: half a CA exists at no instant."""
    folder, path = context(tmp_path).folder, tmp_path / "internal/inside"

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            keep(make_root(ENTRY, now=NOW), folder)
    assert not path.exists()
    assert load(folder) is None
    keep(make_root(ENTRY, now=NOW), folder)
    assert load(folder)
    assert sorted(each.name for each in path.parent.iterdir()) == ["inside"]


def test_a_root_that_is_lost_while_certrotd_runs_is_reported_before_it_ends(tmp_path: Path) -> None:
    """In memory it would live on until the next restart, and nobody would know."""
    site = Surroundings(lambda: ("web",))
    issuer(tmp_path).preflight(deadline=soon())
    running = InternalIssuer(ENTRY, context(tmp_path, site=site))
    obtain(running)
    shutil.rmtree(tmp_path / "internal/inside")
    with pytest.raises(NeedsOperator, match="the root of the CA inside is gone") as failure:
        obtain(running)
    assert "certrotd internal init inside" in failure.value.hint
    assert not (tmp_path / "internal/inside").exists()


@pytest.mark.parametrize("missing", ["root.key", "root.pem"])
def test_half_a_root_is_never_completed(tmp_path: Path, missing: str) -> None:
    """Somebody removed it: a new one beside the old half would be trusted by nobody."""
    issuer(tmp_path).preflight(deadline=soon())
    folder = tmp_path / "internal/inside"
    (folder / missing).unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(NeedsOperator, match=f"and no {missing}") as failure:
        issuer(tmp_path).preflight(deadline=soon())
    assert "backup" in failure.value.hint
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("file", ["root.key", "root.pem"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"x" * 2_000_000])
def test_a_file_that_cannot_be_read_is_never_overwritten(
    tmp_path: Path, file: str, content: bytes
) -> None:
    """A read error that generates a new key destroys a CA."""
    issuer(tmp_path).preflight(deadline=soon())
    path = tmp_path / "internal/inside" / file
    path.write_bytes(content)
    with pytest.raises(NeedsOperator, match=rf"{file} (is|has)"):
        issuer(tmp_path).preflight(deadline=soon())
    assert path.read_bytes() == content


def test_a_key_and_a_certificate_of_two_cas_are_refused(tmp_path: Path) -> None:
    """Restored from two backups."""
    for name in ("one", "two"):
        issuer(tmp_path / name).preflight(deadline=soon())
    wrong = (tmp_path / "one/internal/inside/root.key").read_bytes()
    (tmp_path / "two/internal/inside/root.key").write_bytes(wrong)
    with pytest.raises(NeedsOperator, match="are not one CA"):
        issuer(tmp_path / "two").preflight(deadline=soon())


def test_a_certificate_that_is_no_ca_is_refused(tmp_path: Path) -> None:
    """What it signs would be accepted nowhere."""
    key, (leaf, _) = obtain(issuer(tmp_path))
    folder = tmp_path / "internal/inside"
    (folder / "root.key").write_bytes(keys.to_pem(key))
    (folder / "root.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    with pytest.raises(NeedsOperator, match="are not one CA"):
        issuer(tmp_path).preflight(deadline=soon())


def test_a_csr_for_other_names_is_refused(tmp_path: Path) -> None:
    """Also one with a name more."""
    key = keys.generate(keys.KeyType.ECDSA_P256)
    order = issuer(tmp_path).order(NAMES, deadline=soon())
    for names in (["other.test"], [*NAMES, "other.test"], NAMES[:1]):
        with pytest.raises(InvalidInput, match="request is for other names"):
            order.finalize(keys.signing_request(key, names))


def test_a_csr_with_a_common_name_alone_is_certified_for_it(tmp_path: Path) -> None:
    """As appliances make them, and `config check` takes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[0])])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    order = issuer(tmp_path).order(NAMES[:1], deadline=soon())
    leaf, _ = parse_certificates(order.finalize(csr.public_bytes(Encoding.DER)))
    assert facts_of(leaf).names == NAMES[:1]


def test_a_csr_without_names_is_refused(tmp_path: Path) -> None:
    """There is nothing in it to certify."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    der = csr.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(InvalidInput, match="request is for other names"):
        issuer(tmp_path).order(NAMES, deadline=soon()).finalize(der)


def test_a_weak_key_is_not_certified(tmp_path: Path) -> None:
    """Public CAs would not either (CA/B Forum BR §6.1.5)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    order = issuer(tmp_path).order(NAMES[:1], deadline=soon())
    with pytest.raises(InvalidInput, match="RSA key has 1024 bits"):
        order.finalize(keys.signing_request(key, NAMES[:1]))


def test_orders_are_not_kept(tmp_path: Path) -> None:
    """There is nothing to wait for, and so nothing to come back to."""
    source = issuer(tmp_path)
    order = source.order(NAMES, deadline=soon())
    assert order.url == ""
    order.validate()
    with pytest.raises(OrderGone):
        source.resume("", deadline=soon())


def test_an_issued_certificate_passes_the_checks_at_any_time(tmp_path: Path) -> None:
    """The dates are the injected clock's, not the machine's."""
    clock = ManualClock(NOW)
    key, chain = obtain(issuer(tmp_path, clock))
    verify(key, chain, NAMES, now=clock.now())


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    """In no repr."""
    root = make_root(ENTRY, now=NOW)
    assert "key=" not in repr(root)


_PLAIN = make_root(ENTRY, now=NOW).certificate
