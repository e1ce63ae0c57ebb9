"""What a real BIND cannot be made to answer; the rest is in tests/integration/test_dns.py."""

from collections.abc import Callable

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.tsig
import pytest
from dns.message import Message

from certrotd.address import Address
from certrotd.clock import Deadline, ManualClock
from certrotd.dns.records import TxtRecord
from certrotd.dns.rfc2136 import Rfc2136, TsigKey
from certrotd.errors import Failure, NeedsOperator, Transient
from tests.builders import soon
from tests.unit.dns.scripted import Reply, Script, ScriptedDns, answer
from tests.unit.dns.test_tsig import KEY, TEXT

ZONE = "example.com"
RECORD = TxtRecord("_acme-challenge.example.com", "value")
SOA = f"{ZONE} SOA ns1.example.com. h.example.com. 1 2 3 4 5"


def _bare(rcode: dns.rcode.Rcode) -> Script:
    def script(query: Message, udp: bool) -> Reply:
        reply = dns.message.make_response(query)
        reply.set_rcode(rcode)
        return reply

    return script


def _present(
    server: ScriptedDns,
    *,
    zone: str | None = ZONE,
    tsig: TsigKey | None = None,
    timeout: float = 60.0,
) -> None:
    """Three attempts, of a third of the timeout each, whatever passes in between."""
    solver = Rfc2136(server.address, zone=zone, tsig=tsig, timeout=timeout)
    solver.present(RECORD, deadline=Deadline(ManualClock(soon().clock.now()), 60.0))


def test_an_accepted_update_is_done() -> None:
    """The control of all the failures below."""
    with ScriptedDns(_bare(dns.rcode.NOERROR)) as server:
        _present(server)
        assert server.questions == [(ZONE, "SOA", True)]


@pytest.mark.parametrize(
    ("rcode", "failure", "hint"),
    [
        (dns.rcode.SERVFAIL, Transient, "see the server's log"),
        (dns.rcode.REFUSED, NeedsOperator, "update-policy or allow-update of zone example.com"),
        (dns.rcode.NOTAUTH, NeedsOperator, "is not authoritative for example.com"),
        (dns.rcode.NOTZONE, NeedsOperator, "the name is not in example.com"),
        (dns.rcode.NOTIMP, NeedsOperator, "does not take dynamic updates"),
        (dns.rcode.FORMERR, NeedsOperator, "does not understand the update"),
        (dns.rcode.YXRRSET, NeedsOperator, "see the log of the server for example.com"),
    ],
)
@pytest.mark.parametrize("tsig", [None, KEY], ids=["unsigned", "signed"])
def test_every_refusal_says_who_acts_next(
    rcode: dns.rcode.Rcode, failure: type[Failure], hint: str, tsig: TsigKey | None
) -> None:
    """Each has another cause; a server without TSIG answers a signed update unsigned."""
    with ScriptedDns(_bare(rcode)) as server, pytest.raises(failure) as caught:
        _present(server, tsig=tsig)
    said = f"DNS server {server.address}: adding a TXT record to {RECORD.name}"
    assert caught.value.message == f"{said}: {dns.rcode.to_text(rcode)}"
    assert hint in caught.value.hint
    assert TEXT not in str(caught.value)


def test_an_unsigned_success_is_not_believed() -> None:
    """RFC 8945 §5.3: anybody could have sent it."""
    with ScriptedDns(_bare(dns.rcode.NOERROR)) as server, pytest.raises(Transient) as caught:
        _present(server, tsig=KEY, timeout=0.45)
    assert "no answer within 0.15 s" in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "rcode"),
    [
        (lambda wire: wire[:-1], dns.rcode.REFUSED),
        (lambda wire: wire + b"x", dns.rcode.REFUSED),
        (lambda wire: wire[:-9], dns.rcode.NOERROR),
    ],
    ids=["cut", "junk", "cut success"],
)
def test_a_malformed_answer_to_a_signed_update_is_not_believed(
    broken: Callable[[bytes], bytes], rcode: dns.rcode.Rcode
) -> None:
    """Neither as a success nor as a refusal."""

    def script(query: Message, udp: bool) -> Reply:
        reply = dns.message.make_response(query)
        reply.set_rcode(rcode)
        return broken(reply.to_wire())

    with ScriptedDns(script) as server, pytest.raises(Transient, match="no answer within"):
        _present(server, tsig=KEY, timeout=0.45)


def test_an_answer_signed_with_another_key_is_reported() -> None:
    """A man in the middle, or a server whose key was changed while it ran."""
    stranger = dns.tsig.Key("key.example.", b"another secret", "hmac-sha256.")

    def script(query: Message, udp: bool) -> Reply:
        reply = dns.message.make_response(query)
        reply.use_tsig(stranger)
        reply.request_mac = query.mac or b""
        return reply

    with ScriptedDns(script) as server, pytest.raises(NeedsOperator) as caught:
        _present(server, tsig=KEY)
    assert "the answer is not signed with it for TSIG key key.example" in caught.value.message


def test_a_silent_server_is_asked_three_times() -> None:
    """A lost packet is no failure; a dead server is, and soon."""
    with ScriptedDns(lambda query, udp: None) as server, pytest.raises(Transient) as caught:
        _present(server, timeout=0.45)
    assert len(server.questions) == 3
    assert f"{server.address}: no answer within 0.15 s" in str(caught.value)


def test_a_lost_packet_is_sent_again() -> None:
    """An update may be repeated: adding what is there is a success."""

    def script(query: Message, udp: bool) -> Reply:
        return None if len(server.questions) == 1 else dns.message.make_response(query)

    with ScriptedDns(script) as server:
        _present(server, timeout=0.45)
        assert 1 < len(server.questions) <= 3


def test_the_deadline_ends_the_attempts() -> None:
    """Three attempts are a maximum."""
    clock = ManualClock(soon().clock.now())

    def script(query: Message, udp: bool) -> Reply:
        clock.sleep(60)
        return b"nothing to do with it"

    with ScriptedDns(script) as server:
        solver = Rfc2136(server.address, zone=ZONE, timeout=90)
        with pytest.raises(Transient):
            solver.withdraw(RECORD, deadline=Deadline(clock, 60))
        assert len(server.questions) == 1


def test_a_truncated_answer_is_taken_over_tcp() -> None:
    """TC over UDP says nothing about the update itself."""

    def script(query: Message, udp: bool) -> Reply:
        reply = dns.message.make_response(query)
        if udp:
            reply.flags |= dns.flags.TC
        return reply

    with ScriptedDns(script) as server:
        _present(server)
        assert [udp for _, _, udp in server.questions] == [True, False]


def test_tcp_is_used_where_asked_for() -> None:
    """The control: without `protocol: tcp` the first packet is UDP."""
    with ScriptedDns(_bare(dns.rcode.NOERROR)) as server:
        Rfc2136(server.address, zone=ZONE, protocol="tcp").present(RECORD, deadline=soon())
        assert [udp for _, _, udp in server.questions] == [False]


def test_a_name_outside_the_zone_is_not_sent() -> None:
    """A mistake of the configuration, said before any packet."""
    with ScriptedDns(_bare(dns.rcode.NOERROR)) as server:
        with pytest.raises(NeedsOperator, match=r"is not in the zone example\.net"):
            _present(server, zone="example.net")
        assert server.questions == []


def _finds(soa: str, rcode: dns.rcode.Rcode = dns.rcode.NXDOMAIN) -> Script:
    def script(query: Message, udp: bool) -> Reply:
        if query.opcode() == dns.opcode.UPDATE:
            return dns.message.make_response(query)
        return answer(query, authority=[soa] if soa else [], rcode=rcode)

    return script


def test_without_a_zone_the_server_is_asked_for_it() -> None:
    """RFC 2308 §3: the SOA comes with the answer that the name does not exist."""
    with ScriptedDns(_finds(SOA)) as server:
        _present(server, zone=None)
        assert server.questions == [(RECORD.name, "SOA", True), (ZONE, "SOA", True)]


@pytest.mark.parametrize(
    ("soa", "rcode", "failure", "said"),
    [
        ("", dns.rcode.REFUSED, NeedsOperator, "has no zone for"),
        (f"evil.example {SOA[len(ZONE) + 1 :]}", dns.rcode.NXDOMAIN, NeedsOperator, "has no zone"),
        ("", dns.rcode.SERVFAIL, Transient, "SERVFAIL"),
    ],
)
def test_a_zone_that_is_not_found_is_reported(
    soa: str, rcode: dns.rcode.Rcode, failure: type[Failure], said: str
) -> None:
    """An update into a zone of somebody else's choice must not be sent."""
    with ScriptedDns(_finds(soa, rcode)) as server, pytest.raises(failure, match=said):
        _present(server, zone=None)


@pytest.mark.parametrize(
    ("soa", "rcode", "fine"),
    [
        (SOA, dns.rcode.NOERROR, True),
        ("", dns.rcode.REFUSED, False),
        ("", dns.rcode.SERVFAIL, False),
        (f"com {SOA[len(ZONE) + 1 :]}", dns.rcode.NOERROR, False),
    ],
)
def test_preflight_wants_the_soa_of_the_zone(soa: str, rcode: dns.rcode.Rcode, fine: bool) -> None:
    """A typo in the zone costs a question instead of an order."""
    with ScriptedDns(_finds(soa, rcode)) as server:
        solver = Rfc2136(server.address, zone=ZONE)
        if fine:
            solver.preflight(deadline=soon())
        else:
            with pytest.raises(NeedsOperator, match=r"has no zone for example\.com"):
                solver.preflight(deadline=soon())


def test_preflight_without_a_zone_wants_an_answer() -> None:
    """Which zone is meant is only known with the name."""
    with ScriptedDns(_bare(dns.rcode.REFUSED)) as server:
        Rfc2136(server.address).preflight(deadline=soon())
    with ScriptedDns(lambda query, udp: None) as mute, pytest.raises(Transient):
        Rfc2136(mute.address, timeout=0.3).preflight(deadline=soon())


def test_a_server_may_be_named() -> None:
    """`server: ns1.example.net` is resolved when it is used."""
    with ScriptedDns(_bare(dns.rcode.NOERROR)) as server:
        named = Address("localhost", server.address.port)
        Rfc2136(named, zone=ZONE).present(RECORD, deadline=soon())
        assert [asked_for for asked_for, _, _ in server.questions] == [ZONE]


def test_the_solver_shows_no_secret() -> None:
    """Solvers end up in tracebacks and debug logs."""
    solver = Rfc2136(Address("127.0.0.1", 53), zone=ZONE, tsig=KEY)
    assert TEXT not in repr(vars(solver))
    assert "thirty" not in repr(vars(solver))
