"""What is served is proven by real handshakes, and everything else fails in time and in words."""

import contextlib
import ipaddress
import itertools
import socket
import ssl
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import Failure, InvalidInput, NeedsOperator, ProofFailed, Transient
from certrotd.observe import tls as module
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.pki.facts import fingerprint
from tests.fakes.clock import Pauses, Until
from tests.parts import pki
from tests.parts.listener import Listener, Serve, silent
from tests.parts.process import free_port
from tests.unit.observe.servers import context_of, dripping, tls
from tests.unit.pki.crafted import rsa_key

NAME = "a.example.test"
ROOT = pki.make_root()
CA = pki.make_intermediate(ROOT)
OLD = pki.make_leaf(CA, NAME)
NEW = pki.make_leaf(CA, NAME)
OLD_PRINT, NEW_PRINT = fingerprint(OLD.certificate), fingerprint(NEW.certificate)
PROBER = TlsProber(SystemClock())
PATIENT = TlsProber(ManualClock(datetime(2026, 6, 1, tzinfo=UTC)))
"""One whose pauses take no time; a server that hangs is nothing for it."""


def after(pauses: int) -> TlsProber:
    """One as patient, for which the time is up after so many pauses."""
    return TlsProber(Pauses(pauses))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers and clients have their files."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def old(directory: Path) -> ssl.SSLContext:
    """A server's context with the old pair."""
    return context_of(OLD, directory)


@pytest.fixture(scope="module")
def new(directory: Path) -> ssl.SSLContext:
    """A server's context with the new pair."""
    return context_of(NEW, directory)


@pytest.fixture(scope="module")
def root(directory: Path) -> str:
    """The file with the root that signed them all."""
    return str(ROOT.write(directory, "root")[0])


def at(server: Listener, *, deadline: float = 30.0, consecutive: int = 3) -> Endpoint:
    """The endpoint of a server of the test."""
    return Endpoint(server.host, server.port, NAME, consecutive=consecutive, deadline=deadline)


def seconds_until_failure(endpoint: Endpoint) -> float:
    """How long a proof of the new leaf takes to fail."""
    began = time.monotonic()
    with pytest.raises(ProofFailed):
        PROBER.prove(endpoint, NEW_PRINT)
    return time.monotonic() - began


def test_a_look_shows_the_leaf_that_is_served(old: ssl.SSLContext) -> None:
    """The baseline before a swap, and `certrotd inspect`."""
    with Listener(tls(old)) as server:
        served = PROBER.look(at(server))
    assert served.fingerprint == OLD_PRINT
    assert served.leaf == OLD.certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize("consecutive", [1, 3])
def test_a_leaf_seen_often_enough_in_a_row_is_proven(new: ssl.SSLContext, consecutive: int) -> None:
    """And nobody is asked more often than that."""
    with Listener(tls(new)) as server:
        PATIENT.prove(at(server, consecutive=consecutive), NEW_PRINT)
    assert server.count == consecutive


def test_old_workers_may_linger_for_a_while(old: ssl.SSLContext, new: ssl.SSLContext) -> None:
    """A reload is asynchronous: the first answers, and one in between, may be the old leaf."""
    with Listener(tls(old, old, new, new, old, new)) as server:
        PATIENT.prove(at(server), NEW_PRINT)
    assert server.count == 8


@pytest.mark.parametrize(
    ("consecutive", "deadline", "gaps"),
    [
        (1, 30.0, []),
        (2, 30.0, [0.5]),
        (3, 30.0, [0.25] * 2),
        (6, 30.0, [0.1] * 5),
        (3, 3.0, [0.025] * 2),
        (3, 600.0, [0.5] * 2),
    ],
)
def test_a_row_of_handshakes_is_spread_evenly(
    new: ssl.SSLContext, consecutive: int, deadline: float, gaps: list[float]
) -> None:
    """Three within a few milliseconds can all meet new workers while an old one is starved."""
    clock, served, times = ManualClock(datetime(2026, 6, 1, tzinfo=UTC)), tls(new), list[float]()

    def serve(connection: socket.socket) -> None:
        times.append(clock.monotonic())
        served(connection)

    with Listener(serve) as server:
        endpoint = at(server, consecutive=consecutive, deadline=deadline)
        TlsProber(clock).prove(endpoint, NEW_PRINT)
    assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx(gaps)
    assert clock.monotonic() == pytest.approx(sum(gaps))  # nothing is waited for after the last


@pytest.mark.parametrize(("consecutive", "handshakes"), [(1, 1), (3, 7)])
def test_an_old_worker_that_wakes_up_later_is_noticed(
    old: ssl.SSLContext, new: ssl.SSLContext, consecutive: int, handshakes: int
) -> None:
    """It takes a connection when it gets to run again; one handshake, the control, misses it."""
    clock = ManualClock(datetime(2026, 6, 1, tzinfo=UTC))
    before, after = tls(old), tls(new)

    def serve(connection: socket.socket) -> None:
        (before if 0.1 < clock.monotonic() < 0.4 else after)(connection)

    with Listener(serve) as server:
        TlsProber(clock).prove(at(server, consecutive=consecutive, deadline=30.0), NEW_PRINT)
    assert server.count == handshakes


def test_a_server_that_flaps_is_never_proven(old: ssl.SSLContext, new: ssl.SSLContext) -> None:
    """Half of the users would see the old certificate (bunkerweb #3153)."""
    with Listener(tls(forever=(new, new, old))) as server:
        with pytest.raises(ProofFailed) as failed:
            after(20).prove(at(server), NEW_PRINT)
        assert server.count >= 20
    assert f"but certificate {OLD_PRINT[:16]}" in failed.value.message


def test_the_old_leaf_is_named_where_the_new_one_was_expected(old: ssl.SSLContext) -> None:
    """Renewed on disk, old one still served (NginxProxyManager PR 5720)."""
    with Listener(tls(old)) as server:
        with pytest.raises(ProofFailed) as failed:
            after(3).prove(at(server, deadline=5.0), NEW_PRINT)
        PATIENT.prove(at(server), OLD_PRINT)
    assert failed.value.message == (
        f"127.0.0.1:{server.port} ({NAME}) does not serve certificate {NEW_PRINT[:16]} "
        f"after 5s, but certificate {OLD_PRINT[:16]}"
    )
    assert "its configuration names others" in str(failed.value.hint), "as at a first rotation"


def test_a_deadline_too_short_for_as_many_says_so(new: ssl.SSLContext) -> None:
    """What is seen is right; what was configured cannot be."""
    with Listener(tls(new)) as server, pytest.raises(ProofFailed, match=r"only \d+ times in a row"):
        after(3).prove(at(server, consecutive=1000), NEW_PRINT)


def test_a_port_without_a_listener_is_retried_until_the_deadline() -> None:
    """A service that restarts is away for a moment, and one that crashed for good."""
    gone = Endpoint("127.0.0.1", free_port(), NAME, deadline=0.7)
    with pytest.raises(Transient, match="no TLS handshake: Connection refused"):
        PROBER.look(gone)
    with pytest.raises(ProofFailed, match="Connection refused"):
        PATIENT.prove(gone, NEW_PRINT)


def test_a_handshake_that_the_end_cut_off_hides_nothing(old: ssl.SSLContext) -> None:
    """What was served before it is what the operator needs to know."""
    first = tls(old)

    def serve(connection: socket.socket) -> None:
        (first if server.count == 1 else silent)(connection)

    with Listener(serve) as server:
        prober = TlsProber(Until(lambda: server.count > 1))
        with pytest.raises(ProofFailed, match=f"but certificate {OLD_PRINT[:16]}"):
            prober.prove(at(server, deadline=0.7), NEW_PRINT)
        with pytest.raises(ProofFailed, match=r"but .*no TLS handshake within"):
            PROBER.prove(at(server, deadline=0.3), NEW_PRINT)


@pytest.mark.parametrize("serve", [silent, dripping])
@pytest.mark.parametrize("starttls", [None, "smtp"])
def test_a_server_that_never_answers_costs_no_more_than_the_deadline(
    serve: Serve, starttls: Literal["smtp"] | None
) -> None:
    """A worker that hangs must not hold the rotation, nor one that sends a byte now and then."""
    with Listener(serve) as server:
        endpoint = replace(at(server, deadline=0.6), starttls=starttls)
        assert 0.5 < seconds_until_failure(endpoint) < 20


def test_a_single_look_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made of every target before a swap."""
    monkeypatch.setattr(module, "HANDSHAKE_TIMEOUT", 0.3)
    began = time.monotonic()
    with (
        Listener(silent) as server,
        pytest.raises(Transient, match=r"no TLS handshake within 0\.3s"),
    ):
        PATIENT.look(at(server))
    assert 0.2 < time.monotonic() - began < 20


def test_no_time_at_all_is_a_failure_like_any_other(new: ssl.SSLContext) -> None:
    """A socket without any time would not wait, and fail in words nobody understands."""
    with Listener(tls(new)) as server:
        assert seconds_until_failure(at(server, deadline=0.0)) < 20
    assert server.count == 0


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\x00" * 64, b""],
)
def test_garbage_is_no_handshake(said: bytes) -> None:
    """A plain HTTP port, an alert, noise, or a connection closed at once."""

    def serve(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(said)

    with Listener(serve) as server:
        with pytest.raises(Transient, match="no TLS handshake"):
            PROBER.look(at(server))
        with pytest.raises(ProofFailed):
            PROBER.prove(at(server, deadline=0.2), NEW_PRINT)


def test_a_chain_that_leads_to_the_given_root_is_trusted(new: ssl.SSLContext, root: str) -> None:
    """The same leaf with a broken chain would be an outage for some clients only."""
    with Listener(tls(new)) as server:
        PATIENT.prove(replace(at(server), roots=root), NEW_PRINT)
    assert server.count == 3


@pytest.mark.parametrize("roots", ["another", "system"])
def test_a_chain_that_leads_elsewhere_is_not_proven(
    new: ssl.SSLContext, directory: Path, roots: str
) -> None:
    """Though the leaf is the right one."""
    if roots == "another":
        roots = str(pki.make_root("another root").write(directory, "another")[0])
    with Listener(tls(new)) as server, pytest.raises(ProofFailed, match="the chain is not trusted"):
        after(3).prove(replace(at(server), roots=roots), NEW_PRINT)


def test_a_server_that_leaves_out_the_intermediate_is_not_proven(
    directory: Path, root: str
) -> None:
    """Some clients find it by themselves, which is why nobody notices for so long."""
    alone = context_of(replace(NEW, intermediates=()), directory / "alone")
    with Listener(tls(alone)) as server:
        with pytest.raises(ProofFailed, match="unable to get local issuer"):
            after(3).prove(replace(at(server), roots=root), NEW_PRINT)
        PATIENT.prove(at(server), NEW_PRINT)


def test_a_certificate_for_another_name_is_not_proven(new: ssl.SSLContext, root: str) -> None:
    """The name is checked where the chain is."""
    with Listener(tls(new)) as server:
        elsewhere = replace(at(server), sni="b.example.test", roots=root)
        with pytest.raises(ProofFailed, match="Hostname mismatch"):
            after(3).prove(elsewhere, NEW_PRINT)
        PATIENT.prove(replace(elsewhere, roots=None), NEW_PRINT)


@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_roots_that_cannot_be_read_are_the_operators_to_mend(
    new: ssl.SSLContext, tmp_path: Path, content: bytes | None
) -> None:
    """Said before the first handshake, and not as a fault of the service."""
    roots = tmp_path / "roots.pem"
    if content is not None:
        roots.write_bytes(content)
    with Listener(tls(new)) as server, pytest.raises(NeedsOperator, match="the file of roots"):
        PROBER.prove(replace(at(server), roots=str(roots)), NEW_PRINT)
    assert server.count == 0


def test_the_sni_selects_the_certificate(old: ssl.SSLContext, directory: Path) -> None:
    """One address serves many names, and each has a certificate of its own."""
    other = context_of(pki.make_leaf(CA, "b.example.test"), directory)
    front = context_of(OLD, directory)

    def choose(connection: ssl.SSLObject, name: str, _context: ssl.SSLContext) -> None:
        if name == "b.example.test":
            connection.context = other

    front.sni_callback = choose
    with Listener(tls(front)) as server:
        assert PROBER.look(at(server)).fingerprint == OLD_PRINT
        assert PROBER.look(replace(at(server), sni="b.example.test")).fingerprint != OLD_PRINT


def test_a_name_that_cannot_be_asked_for_is_refused(new: ssl.SSLContext) -> None:
    """Typed at the command line, it ends in one line like anything else."""
    with Listener(tls(new)) as server:
        for name in (".example.test", "a" * 64 + ".test"):
            with pytest.raises(InvalidInput, match=r"not a valid server name \(a DNS name has"):
                PROBER.look(replace(at(server), sni=name))


def test_an_ipv6_endpoint_is_looked_at_and_written_in_brackets(new: ssl.SSLContext) -> None:
    """As addresses are written everywhere else."""
    with Listener(tls(new), host="::1") as server:
        PATIENT.prove(at(server), NEW_PRINT)
        assert str(at(server)) == f"[::1]:{server.port} ({NAME})"


Addresses = list[tuple[int, int, int, str, tuple[str, int]]]


def resolved(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Has every host name lead to these addresses."""
    found: Addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_the_next_address_of_a_name_is_tried(
    new: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name has an IPv6 address that nothing listens at more often than not."""
    gone = ("127.0.0.1", free_port())
    with Listener(tls(new)) as server:
        resolved(monkeypatch, gone, ("127.0.0.1", server.port))
        assert PROBER.look(replace(at(server), host="two.test")).fingerprint == NEW_PRINT
        resolved(monkeypatch, gone)
        with pytest.raises(Transient, match="Connection refused"):
            PROBER.look(replace(at(server), host="one.test"))


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    new: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that drops is the usual one."""
    with socket.socket() as full, Listener(tls(new)) as server:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        resolved(monkeypatch, full.getsockname(), ("127.0.0.1", server.port))
        endpoint = replace(at(server, deadline=10.0, consecutive=1), host="two.test")
        PROBER.prove(endpoint, NEW_PRINT)
        for each in waiting:
            each.close()


def test_a_name_that_does_not_resolve_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's words are shown."""

    def fail(*_: object, **__: object) -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Transient, match="Name or service not known"):
        PROBER.look(Endpoint("nowhere.test", 443, NAME))


def test_a_resolver_that_hangs_costs_no_more_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proof, or a look, at an endpoint by name ends like that of a server that hangs."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) and [])
    endpoint = Endpoint("slow.test", 443, NAME, deadline=0.4)
    assert 0.3 < seconds_until_failure(endpoint) < 20
    monkeypatch.setattr(module, "HANDSHAKE_TIMEOUT", 0.1)
    with pytest.raises(Transient, match=r"slow\.test was not looked up within 0\.1s") as said:
        PATIENT.look(endpoint)
    answered.set()
    assert "/etc/resolv.conf" in said.value.hint


def strict(directory: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server that ends the handshake of a client without a certificate."""
    context = context_of(NEW, directory)
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ROOT.fullchain_pem.decode())
    return context


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_leaf_shown_before_a_client_is_refused_is_proven(
    directory: Path, version: ssl.TLSVersion
) -> None:
    """Its handshake fails for want of our certificate, when it has shown and proven its own."""
    with Listener(tls(strict(directory, version))) as server:
        PATIENT.prove(at(server), NEW_PRINT)
        assert PATIENT.look(at(server)).fingerprint == NEW_PRINT


def test_a_server_that_cannot_sign_for_the_leaf_it_shows_is_not_believed(
    directory: Path,
) -> None:
    """Everybody has the leaf: it is the signature that tells whose it is."""
    with Listener(tls(strict(directory, ssl.TLSVersion.TLSv1_2))) as server:

        def forging(connection: socket.socket) -> None:
            with socket.create_connection((server.host, server.port)) as upstream:
                upstream.sendall(connection.recv(4096))
                upstream.settimeout(0.2)
                flight = b""
                with contextlib.suppress(TimeoutError):
                    while part := upstream.recv(4096):
                        flight += part
                connection.sendall(forged(flight))
                connection.recv(4096)

        with Listener(forging) as forger, pytest.raises(Transient, match="no TLS handshake"):
            PATIENT.look(at(forger))


def forged(flight: bytes) -> bytes:
    """A server's first flight with the signature of its key exchange spoilt (RFC 5246 §7.4.3)."""
    records, position, spoilt = bytearray(flight), 0, 0
    while position < len(records):
        end = position + 5 + int.from_bytes(records[position + 3 : position + 5], "big")
        if records[position] == 22 and records[position + 5] == 12:
            records[end - 1] ^= 1
            spoilt += 1
        position = end
    assert spoilt == 1
    return bytes(records)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_leaf_of_the_kind_of_key_that_is_looked_for_is_seen_where_it_can_be(
    directory: Path, root: str, version: ssl.TLSVersion
) -> None:
    """Of two pairs a client of today sees the ECDSA one; a server with one shows that to all."""
    both = context_of(NEW, directory)
    both.load_cert_chain(*pki.make_leaf(CA, NAME, key=rsa_key()).write(directory, "rsa"))
    single = context_of(NEW, directory)
    single.minimum_version = version
    with Listener(tls(both)) as two, Listener(tls(single)) as one:
        for key, same in (("", True), ("ecdsa-p384", True), ("rsa-4096", False)):
            for roots in (None, root):
                endpoint = replace(at(two), key=key, roots=roots)
                assert (PATIENT.look(endpoint).fingerprint == NEW_PRINT) is same
            assert PATIENT.look(replace(at(one), key=key)).fingerprint == NEW_PRINT
        PATIENT.prove(replace(at(two), key="ecdsa-p256", roots=root), NEW_PRINT)


def test_the_chain_of_the_kind_that_is_looked_for_is_the_one_that_counts(
    directory: Path, root: str
) -> None:
    """Another one beside it that nobody trusts is somebody else's affair, and the reverse."""
    foreign = pki.make_leaf(pki.make_root("another"), NAME, key=rsa_key())
    both = context_of(NEW, directory)
    both.load_cert_chain(*foreign.write(directory, "foreign"))
    with Listener(tls(both)) as server:
        endpoint = replace(at(server), roots=root)
        PATIENT.prove(replace(endpoint, key="ecdsa-p256"), NEW_PRINT)
        print_ = fingerprint(foreign.certificate)
        with pytest.raises(ProofFailed, match="the chain is not trusted"):
            after(3).prove(replace(endpoint, key="rsa-2048"), print_)
        PATIENT.prove(replace(endpoint, key="rsa-2048", roots=None), print_)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_proxy_s_header_comes_before_the_handshake(
    new: ssl.SSLContext, host: str, version: Literal["v1", "v2"]
) -> None:
    """It names both ends of the connection as they are."""
    heard: list[str] = []

    def behind(connection: socket.socket) -> None:
        heard.append(proxied(connection, version))
        near, far = connection.getpeername(), connection.getsockname()
        heard.append(f"{near[0]} {far[0]} {near[1]} {far[1]}")
        tls(new)(connection)

    with Listener(behind, host=host) as server:
        endpoint = replace(at(server), proxy_protocol=version)
        assert PROBER.look(endpoint).fingerprint == NEW_PRINT
    assert heard[0] == heard[1]


def proxied(connection: socket.socket, version: str) -> str:
    """What a header says, and nothing after it is read."""
    if version == "v1":
        line = b""
        while not line.endswith(b"\r\n"):
            line += connection.recv(1)
        protocol, family, *ends = line.decode().split()
        assert (protocol, family) == ("PROXY", f"TCP{6 if ':' in ends[0] else 4}")
        return " ".join(ends)
    head = connection.recv(16, socket.MSG_WAITALL)
    assert head[:13] == b"\r\n\r\n\0\r\nQUIT\n\x21"
    size = {0x11: 4, 0x21: 16}[head[13]]
    rest = connection.recv(int.from_bytes(head[14:], "big"), socket.MSG_WAITALL)
    assert len(rest) == 2 * size + 4
    ends = [str(ipaddress.ip_address(rest[each : each + size])) for each in (0, size)]
    ports = [int.from_bytes(rest[each : each + 2], "big") for each in (2 * size, 2 * size + 2)]
    return f"{ends[0]} {ends[1]} {ports[0]} {ports[1]}"


def test_a_handshake_without_a_certificate_proves_nothing() -> None:
    """An anonymous server could be anybody; no default offers it, so it is asked for here."""

    def anonymous(kind: int) -> ssl.SSLContext:
        context = ssl.SSLContext(kind)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
        return context

    deadline = Deadline(SystemClock(), 60.0)
    with Listener(tls(anonymous(ssl.PROTOCOL_TLS_SERVER))) as server:
        with pytest.raises(Transient, match="the server sent no certificate"):
            module._shown(at(server), anonymous(ssl.PROTOCOL_TLS_CLIENT), deadline)
        with pytest.raises(Transient, match="no TLS handshake"):
            PROBER.look(at(server))


def test_pauses_grow_and_end_at_the_deadline() -> None:
    """A service that is down for long is asked about once a second, not twenty times."""

    class Watched(SystemClock):
        def __init__(self) -> None:
            self.time = 0.0
            self.slept: list[float] = []

        def monotonic(self) -> float:
            return self.time

        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            self.time += seconds

    clock = Watched()
    gone = Endpoint("127.0.0.1", free_port(), NAME, deadline=10.0)
    with pytest.raises(Failure):
        TlsProber(clock).prove(gone, NEW_PRINT)
    *pauses, last = clock.slept
    assert pauses[:3] == [0.05, pytest.approx(0.075), pytest.approx(0.1125)]
    assert all(a <= b <= 1.0 for a, b in itertools.pairwise(pauses))
    assert last <= 1.0
    assert sum(clock.slept) == pytest.approx(10.0)
