"""The whole chain as a real server sends it, with and without roots to check it against."""

import gc
import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certrotd.address import StartTls
from certrotd.clock import ManualClock, SystemClock
from certrotd.errors import NeedsOperator, Transient
from certrotd.observe import tls as tls_module
from certrotd.observe import trust as trust_module
from certrotd.observe.chain import Examiner, Presented
from certrotd.observe.tls import Endpoint
from certrotd.pki.facts import facts_of
from tests.parts import pki
from tests.parts.listener import Listener, Serve, silent
from tests.unit.observe.servers import context_of, context_of_der, tls
from tests.unit.pki.crafted import bits_for_a_name, certificate, mask_missing

NAME = "a.example.test"
ROOT = pki.make_root()
CA = pki.make_intermediate(ROOT)
LEAF = pki.make_leaf(CA, NAME)
FOREIGN = pki.make_intermediate(pki.make_root("another root"), "another CA")
EXAMINER = Examiner(SystemClock())
Look = Callable[..., Presented]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Has a server show a pair, and looks at it."""
    root = str(ROOT.write(tmp_path, "root")[0])

    def examine(pair: pki.Pair, *, trusting: bool = False, sni: str = NAME) -> Presented:
        with Listener(tls(context_of(pair, tmp_path))) as server:
            roots = root if trusting else None
            return EXAMINER.examine(Endpoint(server.host, server.port, sni, roots=roots))

    return examine


def with_chain(*above: pki.Pair) -> pki.Pair:
    """The leaf, sent with these above it."""
    return pki.Pair(LEAF.key, LEAF.certificate, [each.certificate for each in above])


@pytest.mark.parametrize("trusting", [True, False])
def test_the_chain_is_shown_as_it_was_sent(look: Look, trusting: bool) -> None:
    """A sound one, and whether somebody vouched for it."""
    seen = look(LEAF, trusting=trusting)
    assert seen.chain == (facts_of(LEAF.certificate), facts_of(CA.certificate))
    assert (seen.broken, seen.trusted) == ("", trusting)


def test_a_leaf_alone_is_broken_only_for_who_has_roots(look: Look) -> None:
    """Its links are fine, as there are none; a CA that issues from its root sends no more."""
    assert look(with_chain()) == Presented((facts_of(LEAF.certificate),))
    alone = look(with_chain(), trusting=True)
    assert alone.broken == "the chain is not trusted: unable to get local issuer certificate"
    assert alone.chain == (facts_of(LEAF.certificate),)


def test_links_that_do_not_hold_are_reported(look: Look) -> None:
    """The wrong intermediate, or the right ones in the wrong order."""
    torn = look(with_chain(FOREIGN))
    assert torn.broken.startswith(f"{NAME} was not issued by another CA")
    assert look(with_chain(FOREIGN), trusting=True).broken.startswith("the chain is not trusted")


@pytest.mark.parametrize("leaf", [mask_missing(NAME), bits_for_a_name(NAME)])
@pytest.mark.parametrize("trusting", [True, False])
def test_a_leaf_that_cannot_be_read_is_shown_by_its_hash(
    tmp_path: Path, leaf: bytes, trusting: bool
) -> None:
    """An impostor that serves such a one is none the less not who it should be."""
    root = str(ROOT.write(tmp_path, "root")[0])
    with Listener(tls(context_of_der(tmp_path, leaf))) as server:
        roots = root if trusting else None
        seen = EXAMINER.examine(Endpoint(server.host, server.port, NAME, roots=roots))
    assert (seen.leaf, seen.fingerprint) == (None, hashlib.sha256(leaf).hexdigest())
    assert seen.unreadable.startswith("certificate 1 of 1 has an unreadable part")


def test_a_leaf_is_read_whatever_stands_above_it(tmp_path: Path) -> None:
    """That the certificate above it cannot be read hides nothing of the leaf."""
    leaf = certificate(NAME)
    chain = (leaf.public_bytes(Encoding.DER), mask_missing("b.test"))
    with Listener(tls(context_of_der(tmp_path, *chain))) as server:
        seen = EXAMINER.examine(Endpoint(server.host, server.port, NAME))
    assert seen.leaf == facts_of(leaf)
    assert seen.fingerprint == facts_of(leaf).fingerprint
    assert seen.unreadable.startswith("certificate 2 of 2 has an unreadable part")


def test_a_served_chain_that_clients_refuse_is_reported(tmp_path: Path) -> None:
    """Links that hold are not all: the first is a client's certificate, the other a CA's."""
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    now = datetime.now(UTC)
    dates: dict[str, Any] = {"not_before": now, "not_after": now + timedelta(days=1)}
    seen = []
    for leaf in (certificate(NAME, extensions=[purpose], **dates), certificate(NAME, is_ca=True)):
        der = leaf.public_bytes(Encoding.DER)
        with Listener(tls(context_of_der(tmp_path, der))) as server:
            seen.append(EXAMINER.examine(Endpoint(server.host, server.port, NAME)))
    assert seen[0].broken == "leaf is not for servers (its extended key usage)"
    assert (seen[0].doubtful, seen[1].broken) == ("", "")
    assert seen[1].doubtful == "some clients refuse leaf: it is a CA's certificate (CA:TRUE)"


def test_superfluous_certificates_break_it_for_nobody_who_has_roots(look: Look) -> None:
    """Clients pass them over (RFC 8446 §4.4.2)."""
    assert look(with_chain(CA, FOREIGN), trusting=True).trusted


def test_a_chain_of_somebody_else_is_not_trusted(look: Look) -> None:
    """And shown nevertheless."""
    foreign = pki.make_leaf(FOREIGN, NAME)
    seen = look(foreign, trusting=True)
    assert seen.broken == "the chain is not trusted: unable to get local issuer certificate"
    assert seen.chain[0] == facts_of(foreign.certificate)
    assert look(foreign).broken == ""


def test_a_name_is_not_the_chain_s_affair(look: Look) -> None:
    """Whoever looks compares names in words of its own."""
    assert look(LEAF, trusting=True, sni="b.example.test").trusted


@pytest.mark.parametrize("begin", [-7, 1])
def test_a_leaf_out_of_date_is_not_called_a_broken_chain(look: Look, begin: int) -> None:
    """Of one fault there is one finding."""
    when = datetime.now(UTC) + timedelta(days=begin)
    leaf = pki.make_leaf(CA, NAME, not_before=when)
    seen = look(leaf, trusting=True)
    assert seen == Presented((facts_of(leaf.certificate), facts_of(CA.certificate)))


def test_an_expired_intermediate_is_a_broken_chain(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaf is fine, and clients fail all the same."""
    past = datetime.now(UTC) - timedelta(days=3000)

    class Past(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return past

    with monkeypatch.context() as patch:
        patch.setattr(pki, "datetime", Past)
        old = pki.make_intermediate(ROOT)
    seen = look(pki.make_leaf(old, NAME), trusting=True)
    assert seen.broken == "the chain is not trusted: certificate has expired"


def test_a_silent_server_is_a_failure_in_time(tmp_path: Path) -> None:
    """A silent server holds a look for as long as was allowed, whatever it is checked against."""
    root = str(ROOT.write(tmp_path, "root")[0])
    with Listener(silent) as server:
        began = time.monotonic()
        for roots in (None, root):
            endpoint = Endpoint(server.host, server.port, NAME, deadline=0.3, roots=roots)
            with pytest.raises(Transient, match="no TLS handshake within"):
                EXAMINER.examine(endpoint)
        assert time.monotonic() - began < 20


def test_roots_that_cannot_be_read_are_the_operator_s(tmp_path: Path) -> None:
    """A typo in the configuration is no broken chain."""
    with pytest.raises(NeedsOperator, match="the file of roots"):
        EXAMINER.examine(Endpoint("127.0.0.1", 1, NAME, roots=str(tmp_path / "gone")))


def smtp(then: Serve) -> Serve:
    """A mail server, up to where TLS begins (RFC 3207)."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"220 mail ESMTP\r\n")
        connection.recv(4096)
        connection.sendall(b"250 STARTTLS\r\n")
        connection.recv(4096)
        connection.sendall(b"220 go ahead\r\n")
        then(connection)

    return serve


@pytest.mark.parametrize("protocol", ["smtp", None])
def test_a_chain_behind_starttls_is_seen(tmp_path: Path, protocol: StartTls | None) -> None:
    """Mail servers have certificates too; the control asks for TLS at once, and fails."""
    with Listener(smtp(tls(context_of(LEAF, tmp_path)))) as server:
        endpoint = Endpoint(server.host, server.port, NAME, starttls=protocol)
        if protocol is None:
            with pytest.raises(Transient, match="no TLS handshake"):
                EXAMINER.examine(endpoint)
        else:
            assert EXAMINER.examine(endpoint).chain[0] == facts_of(LEAF.certificate)


@pytest.mark.parametrize("chain", [[b"leaf", b"ca"], None])
def test_newer_pythons_have_a_public_name_for_it(chain: list[bytes] | None) -> None:
    """From 3.13 on ``get_unverified_chain`` gives DER."""
    newer = SimpleNamespace(get_unverified_chain=lambda: chain)
    assert tls_module._sent(newer) == (chain or [])


@pytest.mark.parametrize("there", [True, False])
def test_older_pythons_have_it_in_pem(there: bool) -> None:
    """As the oldest that is supported does; a server that sends none has none."""
    pem = LEAF.certificate.public_bytes(Encoding.PEM).decode()
    one = SimpleNamespace(public_bytes=lambda: pem)
    inner = SimpleNamespace(get_unverified_chain=lambda: [one] if there else None)
    der = LEAF.certificate.public_bytes(Encoding.DER)
    assert tls_module._sent(SimpleNamespace(_sslobj=inner)) == ([der] if there else [])


def test_roots_are_read_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look reading a hundred and forty roots would be most of the work."""
    read: list[str] = []

    real = trust_module.checking

    def checking(roots: str) -> ssl.SSLContext:
        read.append(roots)
        return real(roots)

    monkeypatch.setattr(trust_module, "checking", checking)
    root = str(ROOT.write(tmp_path, "root")[0])
    clock = ManualClock(datetime.now(UTC))
    examiner = Examiner(clock)
    with Listener(tls(context_of(LEAF, tmp_path))) as server:
        endpoint = Endpoint(server.host, server.port, NAME, roots=root)
        for after, count in [(0, 1), (599, 1), (1, 2)]:
            clock.sleep(after)
            assert examiner.examine(endpoint).trusted
            assert read == [root] * count


def test_a_failed_handshake_leaves_nothing_for_the_garbage_collector() -> None:
    """It seldom runs over what is old; failures every minute would fill the memory meanwhile."""

    def fail() -> None:
        for roots in (None, "system"):
            with pytest.raises(Transient):
                EXAMINER.examine(Endpoint("127.0.0.1", 1, NAME, roots=roots))

    fail()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            fail()
        assert gc.collect() == 0
    finally:
        gc.enable()
