"""The responder speaks to the whole internet: well-formed or not, every packet has one answer."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from dns.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from certrotd.dns.answers import Authority, failed, respond
from tests.unit.dns.test_names import NAME

APEX = "acme.example.net"
AUTHORITY = Authority((APEX, "_acme-challenge.example.com"), "ns.example.org", "h.example.org")
VALUES = {
    f"a.{APEX}": ("one", "two"),
    f"deep.below.{APEX}": ("three",),
    "_acme-challenge.example.com": ("four",),
    "elsewhere.example.org": ("five",),
}


def _ask(query: Message, *, udp: bool = True, authority: Authority = AUTHORITY) -> Message:
    wire = respond(query.to_wire(), authority, VALUES, udp=udp, serial=7)
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer) or not answer.question
    assert not answer.flags & dns.flags.RA
    return answer


def _query(
    name: str,
    rdtype: str = "TXT",
    *,
    use_edns: int | None = None,
    payload: int | None = None,
    flags: int = dns.flags.RD,
) -> Message:
    return dns.message.make_query(
        f"{name}.", rdtype, use_edns=use_edns, payload=payload, flags=flags
    )


def _records(answer: Message) -> dict[str, list[str]]:
    return {
        dns.rdatatype.to_text(rrset.rdtype): sorted(rdata.to_text() for rdata in rrset)
        for rrset in answer.answer
    }


def _negative(answer: Message) -> tuple[str, str, int]:
    """The code, the owner of the SOA in the authority section and its TTL."""
    (soa,) = answer.authority
    assert soa.rdtype == dns.rdatatype.SOA
    assert not answer.answer
    return dns.rcode.to_text(answer.rcode()), soa.name.to_text(), soa.ttl


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        (f"a.{APEX}", "TXT", {"TXT": ['"one"', '"two"']}),
        ("_acme-challenge.example.com", "TXT", {"TXT": ['"four"']}),
        (APEX, "NS", {"NS": ["ns.example.org."]}),
        (APEX, "SOA", {"SOA": ["ns.example.org. h.example.org. 7 3600 600 86400 1"]}),
        (f"a.{APEX}", "ANY", {"HINFO": ['"RFC8482" ""']}),
        (APEX, "ANY", {"HINFO": ['"RFC8482" ""']}),
    ],
)
def test_an_existing_record_is_answered(
    name: str, rdtype: str, expected: dict[str, list[str]]
) -> None:
    """With authority, and ANY with one made-up record (RFC 8482)."""
    answer = _ask(_query(name, rdtype))
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.AA
    assert _records(answer) == expected


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "zone"),
    [
        (f"x.{APEX}", "TXT", "NXDOMAIN", APEX),
        (f"x.{APEX}", "ANY", "NXDOMAIN", APEX),
        (f"x.a.{APEX}", "TXT", "NXDOMAIN", APEX),
        (f"a.{APEX}", "A", "NOERROR", APEX),
        (APEX, "TXT", "NOERROR", APEX),
        (f"below.{APEX}", "TXT", "NOERROR", APEX),
        (f"elow.{APEX}", "TXT", "NXDOMAIN", APEX),
        ("_acme-challenge.example.com", "AAAA", "NOERROR", "_acme-challenge.example.com"),
    ],
)
def test_a_missing_record_is_denied_with_the_soa(
    name: str, rdtype: str, rcode: str, zone: str
) -> None:
    """RFC 2308: without the SOA a denial is not cached right; an empty non-terminal exists."""
    assert _negative(_ask(_query(name, rdtype))) == (rcode, f"{zone}.", 1)


@pytest.mark.parametrize(
    "query",
    [
        _query("elsewhere.example.org"),
        _query("example.net"),
        _query(f"not{APEX}"),
        dns.message.make_query(".", "NS"),
        _query(APEX, "AXFR"),
        _query(APEX, "IXFR"),
        dns.message.make_query(f"a.{APEX}.", "TXT", rdclass="CH"),
        dns.message.make_query("version.bind.", "TXT", rdclass="CH"),
    ],
    ids=["outside", "parent", "suffix", "root", "AXFR", "IXFR", "chaos", "version"],
)
def test_queries_for_other_zones_and_types_are_refused(query: Message) -> None:
    """No open resolver, no zone transfer, no version."""
    answer = _ask(query)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & dns.flags.AA
    assert not (answer.answer)
    assert not (answer.authority)
    assert not (answer.additional)


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented(opcode: int) -> None:
    """An UPDATE from the internet must change nothing."""
    wire = struct.pack("!HHHHHH", 4711, opcode << 11 | dns.flags.RD, 0, 0, 0, 0)
    reply = respond(wire, AUTHORITY, VALUES, udp=True, serial=7)
    assert reply is not None
    assert struct.unpack("!HHHHHH", reply) == (
        4711,
        dns.flags.QR | opcode << 11 | dns.flags.RD | dns.rcode.NOTIMP,
        0,
        0,
        0,
        0,
    )


def test_the_spelling_of_the_question_comes_back() -> None:
    """Resolvers mix the case against spoofing (0x20) and drop an answer that does not."""
    mixed = "A.aCmE.eXample.NET"
    wire = respond(_query(mixed).to_wire(), AUTHORITY, VALUES, udp=True, serial=7)
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert answer.question[0].name.to_text() == f"{mixed}."
    assert answer.answer[0].name.to_text() == f"{mixed}."
    assert _records(answer) == {"TXT": ['"one"', '"two"']}


@pytest.mark.parametrize("recursion", [0, dns.flags.RD])
def test_recursion_is_never_offered(recursion: int) -> None:
    """RD comes back as it came (RFC 1035 §4.1.1), RA stays clear."""
    answer = _ask(_query(f"a.{APEX}", flags=recursion))
    assert answer.flags & dns.flags.RD == recursion
    assert not answer.flags & dns.flags.RA


def test_edns_is_answered_with_edns_and_only_then() -> None:
    """RFC 6891 §7: an OPT is for those who sent one."""
    assert _ask(_query(f"a.{APEX}", use_edns=0)).edns == 0
    assert _ask(_query(f"a.{APEX}", use_edns=0)).payload == 1232
    assert _ask(_query(f"a.{APEX}")).edns == -1


def test_a_later_edns_is_badvers() -> None:
    """RFC 6891 §6.1.3."""
    answer = _ask(_query(f"a.{APEX}", use_edns=1))
    assert answer.rcode() == dns.rcode.BADVERS
    assert answer.edns == 0
    assert not answer.answer


def test_unknown_edns_options_are_ignored() -> None:
    """RFC 6891 §6.1.2: cookies, subnets and inventions of tomorrow."""
    query = _query(f"a.{APEX}")
    query.use_edns(
        0,
        options=[
            dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"x"),
            dns.edns.NSIDOption(b""),
        ],
    )
    assert _records(_ask(query)) == {"TXT": ['"one"', '"two"']}


BIG = {f"a.{APEX}": tuple(f"{n:0>200}" for n in range(5))}


@pytest.mark.parametrize(
    ("payload", "udp", "fits"),
    [
        (None, True, False),
        (100, True, False),
        (512, True, False),
        (1232, True, True),
        (4096, True, True),
        (None, False, True),
    ],
)
def test_an_answer_that_does_not_fit_is_truncated(
    payload: int | None, udp: bool, fits: bool
) -> None:
    """Over UDP the asker says how much it takes, at least 512 octets; TCP takes all."""
    query = _query(f"a.{APEX}", use_edns=None if payload is None else 0, payload=payload)
    wire = respond(query.to_wire(), AUTHORITY, BIG, udp=udp, serial=7)
    assert wire is not None
    assert len(wire) <= max(512, payload or 512) or not udp
    answer = dns.message.from_wire(wire)
    assert bool(answer.flags & dns.flags.TC) is not fits
    assert len(answer.answer[0]) == 5 if fits else not answer.answer
    assert (answer.edns == 0) is (payload is not None)


def test_no_datagram_is_larger_than_crosses_the_internet() -> None:
    """A fragmented answer is often a lost one, whatever the asker says it takes."""
    many = {f"a.{APEX}": tuple(f"{n:0>200}" for n in range(7))}
    query = _query(f"a.{APEX}", use_edns=0, payload=65535)
    wire = respond(query.to_wire(), AUTHORITY, many, udp=True, serial=7)
    assert wire is not None
    assert dns.message.from_wire(wire).flags & dns.flags.TC


def test_more_than_a_message_holds_is_a_failure() -> None:
    """Nothing can say 64 KiB of leftovers; half of them would be a lie."""
    many = {f"a.{APEX}": tuple(f"{n:0>200}" for n in range(400))}
    wire = respond(_query(f"a.{APEX}").to_wire(), AUTHORITY, many, udp=False, serial=7)
    assert wire is not None
    assert dns.message.from_wire(wire).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("rdtype", ["A", "AAAA"])
def test_a_nameserver_inside_the_zone_has_its_addresses(rdtype: str) -> None:
    """Strict resolvers ask the zone itself for what the glue said."""
    inside = Authority((APEX,), f"ns.{APEX}", f"h.{APEX}", ("192.0.2.1", "2001:db8::1"))
    expected = {"A": "192.0.2.1", "AAAA": "2001:db8::1"}[rdtype]
    assert _records(_ask(_query(f"ns.{APEX}", rdtype), authority=inside)) == {rdtype: [expected]}
    assert _negative(_ask(_query(f"ns.{APEX}", "TXT"), authority=inside))[0] == "NOERROR"


def test_a_nameserver_with_one_family_denies_the_other() -> None:
    """NODATA, not NXDOMAIN: the name exists."""
    inside = Authority((APEX,), f"ns.{APEX}", f"h.{APEX}", ("192.0.2.1",))
    assert _negative(_ask(_query(f"ns.{APEX}", "AAAA"), authority=inside))[0] == "NOERROR"


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0" * 11,
        struct.pack("!HHHHHH", 1, dns.flags.QR, 1, 0, 0, 0),
        dns.message.make_response(_query(f"a.{APEX}")).to_wire(),
    ],
    ids=["empty", "stump", "response header", "response"],
)
def test_responses_and_stumps_are_dropped(wire: bytes) -> None:
    """Two servers that answer each other's errors never stop."""
    assert respond(wire, AUTHORITY, VALUES, udp=True, serial=7) is None
    assert failed(wire) is None


GOOD = _query(f"a.{APEX}", use_edns=0).to_wire()


@pytest.mark.parametrize(
    "wire",
    [
        GOOD[:12],
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:4] + b"\0\2" + GOOD[6:],
        GOOD[:4] + b"\0\0" + GOOD[6:12] + GOOD[-11:],
        GOOD[:12] + b"\xc0\x0c" + GOOD[-15:],
        GOOD[:10] + b"\0\2" + GOOD[12:] + GOOD[-11:],
    ],
    ids=["no question", "cut", "junk", "two questions", "none", "pointer to itself", "two OPT"],
)
def test_malformed_questions_are_formerr(wire: bytes) -> None:
    """The asker learns that it was the question; id and RD come back."""
    reply = respond(wire, AUTHORITY, VALUES, udp=True, serial=7)
    assert reply == wire[:2] + b"\x81\x01" + b"\0" * 8


def test_a_failure_to_read_the_records_is_servfail() -> None:
    """NXDOMAIN would be cached, and believed."""
    reply = failed(GOOD)
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL


@settings(max_examples=500)
@given(st.binary(max_size=600), st.booleans())
def test_any_octets_have_an_answer_or_silence(wire: bytes, udp: bool) -> None:
    """Nobody on the internet may end the thread that answers."""
    _check(wire, respond(wire, AUTHORITY, VALUES, udp=udp, serial=7))


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, len(GOOD)),
    st.binary(max_size=8),
    st.booleans(),
)
def test_any_damaged_question_has_an_answer_or_silence(
    changes: list[tuple[int, int]], at: int, extra: bytes, udp: bool
) -> None:
    """Near-misses reach further into the parser than noise does."""
    packet = bytearray(GOOD)
    for position, octet in changes:
        packet[position] = octet
    packet[at:at] = extra
    wire = bytes(packet)
    _check(wire, respond(wire, AUTHORITY, VALUES, udp=udp, serial=7))


def _check(wire: bytes, reply: bytes | None) -> None:
    silent = len(wire) < 12 or bool(wire[2] & 0x80)
    assert (reply is None) is silent
    if reply is not None:
        assert reply[:2] == wire[:2]
        assert reply[2] & 0x80
        assert reply[2] & 0x78 == wire[2] & 0x78
        assert len(reply) <= 1232


@given(
    NAME | st.sampled_from([*VALUES, APEX, f"below.{APEX}", f"x.{APEX}"]),
    st.sampled_from(["TXT", "A", "AAAA", "NS", "SOA", "CNAME", "MX", "ANY", "CAA", "TYPE65280"]),
    st.booleans(),
    st.booleans(),
)
def test_the_answers_to_well_formed_questions_agree(
    name: str, rdtype: str, edns: bool, udp: bool
) -> None:
    """One name is either there or not, whichever type is asked, and UDP says what TCP says."""
    query = _query(name, rdtype, use_edns=0 if edns else None)
    answer = _ask(query, udp=udp)
    held = any(name == zone or name.endswith(f".{zone}") for zone in AUTHORITY.zones)
    assert (answer.rcode() == dns.rcode.REFUSED) is not held
    if not held:
        return
    exists = any(other == name or other.endswith(f".{name}") for other in (*VALUES, APEX))
    assert answer.rcode() == (dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
    assert bool(answer.answer) is not bool(answer.authority)
    assert _records(answer) == _records(_ask(query, udp=not udp))
    if rdtype == "TXT":
        shown = {text.strip('"') for text in _records(answer).get("TXT", [])}
        assert shown == set(VALUES.get(name, ()))
