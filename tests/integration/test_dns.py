"""Dynamic updates, propagation and delegation against real BIND servers."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import dns.message
import dns.rcode
import pytest
from dns.message import Message

from certrotd.address import Address, parse
from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.config.secrets import Secret
from certrotd.dns.propagation import Propagation
from certrotd.dns.records import TxtRecord
from certrotd.dns.resolve import Resolver
from certrotd.dns.responder import Responder
from certrotd.dns.rfc2136 import Rfc2136, TsigKey
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from tests.builders import soon
from tests.contract.test_solvers import Rig, SolverClaims
from tests.parts import Bind, Parts
from tests.parts import Resolver as RecursiveBind
from tests.parts.bind import ZONES, Zone
from tests.parts.bind import TsigKey as BindKey
from tests.parts.process import free_port
from tests.unit.dns.scripted import ScriptedDns, answer

RECORD = TxtRecord("_acme-challenge.example.test", "value")
Start = Callable[..., Bind]


@pytest.fixture(scope="module")
def server(module_parts: Parts) -> Bind:
    """One BIND for everything that leaves nothing behind."""
    return module_parts.starter(Bind)()


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test finds another's records on the shared server."""
    yield
    if "server" in request.fixturenames:
        bind = request.getfixturevalue("server")
        for name in (RECORD.name, "_acme-challenge.www.example.test"):
            bind.delete_txt(name)


def _key(bind: Bind, *, name: str = "", algorithm: str = "", secret: str = "") -> TsigKey:
    octets = base64.b64decode(secret or bind.key.secret)
    return TsigKey(name or bind.key.name, algorithm or bind.key.algorithm, Secret(octets))


def _solver(
    bind: Bind, *, zone: str | None = "example.test", tsig: TsigKey | None = None
) -> Rfc2136:
    return Rfc2136(parse(bind.server), zone=zone, tsig=tsig or _key(bind))


class TestRfc2136(SolverClaims):
    """The solver's contract against BIND, over UDP with the zone configured."""

    @pytest.fixture
    def rig(self, server: Bind) -> Rig:
        return Rig(_solver(server), server.txt)


class TestRfc2136OverTcp(SolverClaims):
    """The same over TCP, with the zone asked from the server."""

    @pytest.fixture
    def rig(self, server: Bind) -> Rig:
        address = parse(server.server)
        return Rig(Rfc2136(address, tsig=_key(server), protocol="tcp"), server.txt)


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha224", "hmac-sha384", "hmac-sha512"])
def test_every_common_algorithm_is_understood(bind: Start, algorithm: str) -> None:
    """tsig-keygen -a offers these."""
    own = bind(zones=ZONES[:1], key=BindKey(algorithm=algorithm))
    _solver(own).present(RECORD, deadline=soon())
    assert own.txt(RECORD.name) == {"value"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secret": BindKey().secret}, "BADSIG"),
        ({"name": "other-key"}, "BADKEY"),
        ({"algorithm": "hmac-sha512"}, "BADKEY"),
    ],
)
@pytest.mark.parametrize("act", ["present", "preflight"])
def test_a_wrong_tsig_key_is_refused_and_said(
    server: Bind, wrong: dict[str, str], said: str, act: str
) -> None:
    """Preflight finds it before an order is spent; the secret is in no message."""
    key = _key(server, **wrong)
    solver = _solver(server, tsig=key)
    acts: dict[str, Callable[[], None]] = {
        "present": lambda: solver.present(RECORD, deadline=soon()),
        "preflight": lambda: solver.preflight(deadline=soon()),
    }
    with pytest.raises(NeedsOperator) as caught:
        acts[act]()
    text = str(caught.value)
    assert f"{said} for TSIG key {key.name} ({key.algorithm})" in text
    assert wrong.get("secret", server.key.secret) not in text
    assert server.txt(RECORD.name) == set()


def test_a_clock_that_is_wrong_is_reported(server: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """BADTIME: TSIG allows five minutes (RFC 8945 §5.2.3); the key is right, the clock is not."""
    yesterday = SimpleNamespace(time=lambda: time.time() - 86_400)
    monkeypatch.setattr(dns.message, "time", yesterday)
    with pytest.raises(NeedsOperator) as caught:
        _solver(server).present(RECORD, deadline=soon())
    assert "BADTIME for TSIG key certrotd-test (hmac-sha256)" in caught.value.message
    assert "clocks" in caught.value.hint


def test_an_update_beyond_the_policy_is_refused_and_said(server: Bind) -> None:
    """A key that may only set challenges: what it may is done, what it may not is said."""
    solver = _solver(server, zone="restricted.test")
    allowed = TxtRecord("_acme-challenge.www.restricted.test", "value")
    solver.present(allowed, deadline=soon())
    solver.withdraw(allowed, deadline=soon())
    with pytest.raises(NeedsOperator) as caught:
        solver.present(TxtRecord("_acme-challenge.other.restricted.test", "v"), deadline=soon())
    assert caught.value.message.endswith(
        "adding a TXT record to _acme-challenge.other.restricted.test: REFUSED"
    )
    assert "let key certrotd-test update TXT records" in caught.value.hint


def test_an_unsigned_update_is_refused_and_said(server: Bind) -> None:
    """Without a key BIND refuses; the hint speaks of the address then."""
    solver = Rfc2136(parse(server.server), zone="example.test")
    with pytest.raises(NeedsOperator, match="REFUSED") as caught:
        solver.present(RECORD, deadline=soon())
    assert "let this address update" in caught.value.hint


@pytest.mark.parametrize("zone", ["elsewhere.test", "www.example.test"])
def test_a_zone_the_server_does_not_have_is_reported(server: Bind, zone: str) -> None:
    """A host name in place of the zone is the usual slip."""
    solver = _solver(server, zone=zone)
    with pytest.raises(NeedsOperator, match="NOTAUTH"):
        solver.present(TxtRecord(f"_acme-challenge.{zone}", "v"), deadline=soon())
    with pytest.raises(NeedsOperator, match=f"has no zone for {zone}"):
        solver.preflight(deadline=soon())


def test_the_zone_of_a_name_nobody_has_is_reported(server: Bind) -> None:
    """Without a configured zone the server is asked, and has none either."""
    solver = Rfc2136(parse(server.server), tsig=_key(server))
    with pytest.raises(NeedsOperator, match=r"has no zone for _acme-challenge\.elsewhere\.test"):
        solver.present(TxtRecord("_acme-challenge.elsewhere.test", "v"), deadline=soon())


def test_a_paused_server_is_a_timeout_and_a_stopped_one_is_reported_at_once(bind: Start) -> None:
    """A hung server and a dead one: both pass by themselves, one of them says so faster."""
    own = bind(zones=ZONES[:1])
    hasty = Rfc2136(parse(own.server), zone="example.test", tsig=_key(own), timeout=0.9)
    own.pause()
    with pytest.raises(Transient, match=r"no answer within 0\.3 s"):
        hasty.present(RECORD, deadline=soon())
    own.resume()
    own.stop()
    with pytest.raises(Transient, match="connection refused"):
        _solver(own).present(RECORD, deadline=soon())


TWINS = Zone("example.test", nameservers={"ns1": "127.0.0.1", "ns2": "127.0.0.2"})


@pytest.fixture
def primary(bind: Start) -> Bind:
    """The first of two authoritative servers; the second is what the test makes of it."""
    port = free_port("both", "127.0.0.1", "127.0.0.2")
    return bind(zones=[TWINS], port=port)


def _propagation(bind: Bind, *, timeout: float = 30, patience: float = 10) -> Propagation:
    address = parse(bind.server)
    resolver = Resolver((address,), timeout=patience, authoritative_port=address.port)
    return Propagation(resolver, timeout=timeout, interval=0.2)


def paused() -> Deadline:
    """One that only the pauses bring nearer, however slow the machine."""
    return Deadline(ManualClock(datetime(2026, 6, 1, tzinfo=UTC)), 30.0)


def test_a_lagging_secondary_is_waited_for(bind: Start, primary: Bind) -> None:
    """The record is on the primary at once and on the secondary later: done only then."""
    secondary = bind(primary=primary, address="127.0.0.2", port=primary.port)
    _solver(primary).present(RECORD, deadline=soon())
    lagging = _propagation(primary, timeout=0.5)
    with pytest.raises(Transient) as caught:
        lagging.wait([RECORD], deadline=paused())
    assert f"ns2.example.test ({secondary.server}): NXDOMAIN" in caught.value.message
    assert "ns1" not in caught.value.message
    begun = threading.Event()

    def catch_up() -> None:
        begun.set()
        secondary.catch_up()

    caught_up = threading.Timer(0.4, catch_up)
    caught_up.start()
    _propagation(primary).wait([RECORD], deadline=soon())
    assert begun.is_set()
    caught_up.join()
    assert secondary.txt(RECORD.name) == {"value"}


@pytest.mark.parametrize(
    ("rcode", "said"),
    [
        (dns.rcode.SERVFAIL, "SERVFAIL"),
        (dns.rcode.REFUSED, "REFUSED"),
        (None, "no answer within 0.3 s"),
    ],
)
def test_a_broken_secondary_is_named(
    primary: Bind, rcode: dns.rcode.Rcode | None, said: str
) -> None:
    """A challenge that half of the servers show fails half of the time."""
    _solver(primary).present(RECORD, deadline=soon())

    def broken(query: Message, udp: bool) -> Message | None:
        return None if rcode is None else answer(query, rcode=rcode)

    patience, deadline = (0.3, soon()) if rcode is None else (10.0, paused())
    with ScriptedDns(broken, "127.0.0.2", primary.port), pytest.raises(Transient) as caught:
        _propagation(primary, timeout=0.8, patience=patience).wait([RECORD], deadline=deadline)
    assert f"ns2.example.test (127.0.0.2:{primary.port}): {said}" in caught.value.message


def _mute(query: Message, udp: bool) -> Message | None:
    """What a server whose packets are dropped says."""
    return None


def test_a_silent_server_of_three_does_not_stop_an_issuance(primary: Bind, bind: Start) -> None:
    """When time is up; who was not heard is said. The CA asks another one, too."""
    secondary = bind(primary=primary, address="127.0.0.2", port=primary.port)
    _solver(primary).present(RECORD, deadline=soon())
    secondary.catch_up()
    with ScriptedDns(_mute) as mute:
        servers = (parse(primary.server), parse(secondary.server), mute.address)
        asked = Resolver((parse(primary.server),), timeout=0.3)
        said = Propagation(asked, servers=servers, timeout=0.8).wait([RECORD], deadline=soon())
    assert "continued without servers that stayed silent for 0.8 s" in said
    assert f"{mute.address}: no answer within 0.3 s" in said
    assert primary.server not in said
    assert secondary.server not in said


@pytest.mark.parametrize("quorum", [1, None])
def test_a_quorum_of_one_accepts_one_of_two_servers(primary: Bind, quorum: int | None) -> None:
    """Not by default: with one server of two, nobody else vouches for what it shows."""
    _solver(primary).present(RECORD, deadline=soon())
    with ScriptedDns(_mute) as mute:
        servers = (parse(primary.server), mute.address)
        asked = Resolver((parse(primary.server),), timeout=0.3)
        propagation = Propagation(asked, servers=servers, timeout=0.8, quorum=quorum)
        if quorum:
            assert f"{mute.address}: no answer" in propagation.wait([RECORD], deadline=soon())
            return
        with pytest.raises(Transient, match="no answer within") as caught:
            propagation.wait([RECORD], deadline=soon())
    assert "quorum" in (caught.value.hint or "")


@pytest.mark.parametrize("quorum", [1, None])
def test_a_server_that_answers_wrong_is_never_passed_over(
    primary: Bind, bind: Start, quorum: int | None
) -> None:
    """The control: the CA may ask that one, and believe it."""
    secondary = bind(primary=primary, address="127.0.0.2", port=primary.port)
    _solver(primary).present(RECORD, deadline=soon())  # and the secondary does not hear of it
    servers = (parse(primary.server), parse(secondary.server))
    propagation = Propagation(Resolver(()), servers=servers, timeout=0.5, quorum=quorum)
    with pytest.raises(Transient, match="NXDOMAIN"):
        propagation.wait([RECORD], deadline=paused())


def test_a_record_that_no_server_shows_is_known_to_be_absent(primary: Bind, bind: Start) -> None:
    """Only if each of them says so: one that is silent may have it."""
    secondary = bind(primary=primary, address="127.0.0.2", port=primary.port)
    propagation = _propagation(primary, patience=10)
    assert propagation.absent(RECORD, deadline=soon())
    _solver(primary).present(RECORD, deadline=soon())
    assert not propagation.absent(RECORD, deadline=soon())
    assert propagation.absent(TxtRecord(RECORD.name, "other"), deadline=soon())
    _solver(primary).withdraw(RECORD, deadline=soon())
    secondary.stop()
    assert not propagation.absent(RECORD, deadline=soon())


def test_a_secondary_that_is_down_is_named(primary: Bind) -> None:
    """Nothing listens at 127.0.0.2: no wait for a timeout, but no success either."""
    _solver(primary).present(RECORD, deadline=soon())
    with pytest.raises(Transient, match="connection refused"):
        _propagation(primary, timeout=0.4).wait([RECORD], deadline=paused())


def test_configured_servers_are_asked_instead(primary: Bind) -> None:
    """Split horizon: the operator says which servers the CA sees, and only they count."""
    _solver(primary).present(RECORD, deadline=soon())
    nobody = Resolver((Address("127.0.0.1", free_port("both")),), timeout=0.3)
    Propagation(nobody, servers=(parse(primary.server),)).wait([RECORD], deadline=soon())


def test_a_record_that_never_appears_is_reported(primary: Bind, bind: Start) -> None:
    """Other values are counted, so that a leftover is not mistaken for the record."""
    bind(primary=primary, address="127.0.0.2", port=primary.port)
    primary.add_txt(RECORD.name, "leftover")
    with pytest.raises(Transient) as caught:
        _propagation(primary, timeout=0.4).wait([RECORD], deadline=paused())
    said = caught.value.message
    assert "TXT records of _acme-challenge.example.test are not on every" in said
    assert "ns1.example.test (127.0.0.1:" in said
    assert "): 1 other value;" in said
    assert said.endswith("): NXDOMAIN")


def test_wildcard_and_apex_are_waited_for_together(server: Bind) -> None:
    """Both values at one name, each needed by its own authorization."""
    both = [RECORD, TxtRecord(RECORD.name, "wildcard")]
    solver = _solver(server)
    propagation = _propagation(server, timeout=0.5)
    solver.present(both[0], deadline=soon())
    with pytest.raises(Transient, match="1 of 2 values"):
        propagation.wait(both, deadline=paused())
    solver.present(both[1], deadline=soon())
    propagation.wait(both, deadline=paused())


def test_more_values_than_a_datagram_holds_are_found(server: Bind) -> None:
    """Years of leftovers at one name: the answer comes over TCP."""
    solver = _solver(server)
    records = [TxtRecord(RECORD.name, f"{n:0>100}") for n in range(12)]
    for record in records:
        solver.present(record, deadline=soon())
    _propagation(server).wait(records, deadline=soon())


def test_a_delegated_challenge_is_followed(
    server: Bind, resolver: Callable[..., RecursiveBind]
) -> None:
    """By an authoritative server that gives the chain, and by a recursive one."""
    recursive = resolver(authoritative=[server])
    for one in (server.server, recursive.server):
        asked = Resolver((parse(one),))
        name = asked.follow("_acme-challenge.alias.example.test", deadline=soon())
        assert name == "alias.challenges.test"
        assert asked.zone_of(name, deadline=soon()) == "challenges.test"
        assert asked.follow(RECORD.name, deadline=soon()) == RECORD.name
        assert asked.zone_of("_acme-challenge.a.b.example.test", deadline=soon()) == "example.test"


WILD = Zone(
    "wild.test",
    records=["*.sites CNAME cdn.elsewhere.test.", "_acme-challenge.own CNAME own.elsewhere.test."],
)


def test_an_alias_that_a_wildcard_makes_is_not_followed(
    bind: Start, resolver: Callable[..., RecursiveBind]
) -> None:
    """``*.sites CNAME cdn`` is meant for web sites; the record goes to the name's own zone."""
    own = bind(zones=[WILD, Zone("elsewhere.test", records=["cdn A 192.0.2.1"])])
    recursive = resolver(authoritative=[own])
    for asked in (own.server, recursive.server):
        looking = Resolver((parse(asked),))
        for name in ("_acme-challenge.sites.wild.test", "_acme-challenge.www.sites.wild.test"):
            assert looking.follow(name, deadline=soon()) == name
            assert looking.zone_of(name, deadline=soon()) == "wild.test"
        explicit = looking.follow("_acme-challenge.own.wild.test", deadline=soon())
        assert explicit == "own.elsewhere.test"  # the control
    record = TxtRecord("_acme-challenge.www.sites.wild.test", "value")
    solver = Rfc2136(parse(own.server), tsig=_key(own))
    solver.present(record, deadline=soon())
    assert own.txt(record.name) == {"value"}
    solver.withdraw(record, deadline=soon())
    assert own.query(record.name, "TXT").answer[0].to_text().endswith("CNAME cdn.elsewhere.test.")


def test_loops_and_servfail_of_a_real_resolver_are_reported(
    bind: Start, resolver: Callable[..., RecursiveBind]
) -> None:
    """A recursive server may give up on a loop by itself; either way it ends, and is named."""
    own = bind(zones=[Zone("loop.test", records=["a CNAME b", "b CNAME a"])])
    recursive = resolver(authoritative=[own])
    for one in (own.server, recursive.server):
        with pytest.raises(InvalidInput, match=r"loops at a\.loop\.test"):
            Resolver((parse(one),)).follow("a.loop.test", deadline=soon())
    own.stop()
    asked = Resolver((parse(recursive.server),), timeout=5)
    with pytest.raises(Transient, match=f"{recursive.server}: SERVFAIL"):
        asked.follow("_acme-challenge.fresh.loop.test", deadline=soon())


def test_the_servers_of_a_zone_are_found(primary: Bind) -> None:
    """Name and address of each, at the port the test uses for 53."""
    address = parse(primary.server)
    found = Resolver((address,), authoritative_port=address.port).authoritative(
        "example.test", deadline=soon()
    )
    assert [(one.name, one.addresses) for one in found] == [
        ("ns1.example.test", (Address("127.0.0.1", address.port),)),
        ("ns2.example.test", (Address("127.0.0.2", address.port),)),
    ]


def test_a_real_resolver_accepts_the_responder(
    resolver: Callable[..., RecursiveBind], bind: Start, tmp_path: Path
) -> None:
    """BIND as the CA's resolver finds records, denials and the zone's apex acceptable."""
    address = Address("127.0.0.1", free_port("both"))
    responder = Responder(
        listen=(address,),
        zones=("acme.test",),
        nameserver="ns.example.test",
        hostmaster="hostmaster@example.test",
        directory=tmp_path / "dns",
        clock=SystemClock(),
    )
    # A stand-in that only says where the zone's server is: the recursive BIND forwards to it.
    delegated = SimpleNamespace(own_port=address.port, zones=[Zone("acme.test")])
    recursive = resolver(authoritative=[delegated])
    record = TxtRecord("deep.below.acme.test", "value")
    responder.start()
    with closing(responder):
        asked = Resolver((parse(recursive.server),))
        assert asked.follow("x.acme.test", deadline=soon()) == "x.acme.test"
        assert asked.zone_of("x.acme.test", deadline=soon()) == "acme.test"
        responder.present(record, deadline=soon())
        texts = [rrset[0].to_text() for rrset in recursive.query(record.name, "TXT").answer]
        assert texts == ['"value"']
        assert recursive.query("below.acme.test", "TXT").rcode() == dns.rcode.NOERROR
        assert recursive.query("none.acme.test", "TXT").rcode() == dns.rcode.NXDOMAIN
