"""What the built-in responder answers: from octets to octets, knowing no socket and no disk."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.message import Message
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT
from dns.rrset import RRset

from certrotd.dns.names import longest_zone, within
from certrotd.dns.recordfiles import Values
from certrotd.dns.wire import EDNS_PAYLOAD

APEX_TTL = 3600
CHALLENGE_TTL = 1
"""Seconds; also how long the absence of a name is remembered (SOA MINIMUM, RFC 2308 §5)."""

_HEADER = struct.Struct("!HHHHHH")
_OPCODE = 0x7800
_PLAIN_UDP = 512
_TRANSFERS = (RdataType.AXFR, RdataType.IXFR)


@dataclass(frozen=True)
class Authority:
    """The zones answered for, and the one nameserver that every one of them names.

    ``hostmaster`` is a mail address as an SOA spells it (``hostmaster.example.net``);
    ``addresses`` are the nameserver's own, which matter where its name is inside a zone.
    """

    zones: tuple[str, ...]
    nameserver: str
    hostmaster: str
    addresses: tuple[str, ...] = ()


def respond(
    wire: bytes, authority: Authority, values: Values, *, udp: bool, serial: int
) -> bytes | None:
    """The answer to the packet ``wire``; None where silence is right (no header, or a response).

    ``serial`` is the SOA's. Questions outside the zones are REFUSED, and recursion is not offered.
    """
    bare = _bare(wire)
    if bare is None:
        return None
    if bare.opcode() != dns.opcode.QUERY:
        return _with_code(bare, dns.rcode.NOTIMP)
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return _with_code(bare, dns.rcode.FORMERR)
    if len(query.question) != 1:
        return _with_code(bare, dns.rcode.FORMERR)
    response = dns.message.make_response(query, our_payload=EDNS_PAYLOAD)
    if query.edns > 0:
        response.set_rcode(dns.rcode.BADVERS)
    else:
        _fill(response, authority, values, serial)
    return _packed(query, response, udp=udp)


def failed(wire: bytes) -> bytes | None:
    """SERVFAIL for the packet ``wire``, where the records cannot be read."""
    bare = _bare(wire)
    return None if bare is None else _with_code(bare, dns.rcode.SERVFAIL)


def _bare(wire: bytes) -> Message | None:
    """An answer of nothing but a header, which any query has: its id, opcode and RD come back."""
    if len(wire) < _HEADER.size:
        return None
    number, flags, *_ = _HEADER.unpack_from(wire)
    if flags & dns.flags.QR:
        return None  # answering an answer is how two servers talk to each other for ever
    bare = Message(number)
    bare.flags = dns.flags.QR | flags & (_OPCODE | dns.flags.RD)
    return bare


def _with_code(bare: Message, rcode: dns.rcode.Rcode) -> bytes:
    bare.set_rcode(rcode)
    return bare.to_wire()


def _fill(response: Message, authority: Authority, values: Values, serial: int) -> None:
    (asked,) = response.question
    name = asked.name.to_text(omit_final_dot=True).lower()
    zone = longest_zone(name, authority.zones)
    if zone is None or asked.rdclass != RdataClass.IN or asked.rdtype in _TRANSFERS:
        response.set_rcode(dns.rcode.REFUSED)
        return
    response.flags |= dns.flags.AA
    found = _at(asked.name, name, zone, authority, values, serial)
    if asked.rdtype == RdataType.ANY and found:
        # RFC 8482 §4.2: a small made-up answer instead of everything there is.
        response.answer = [_rrset(asked.name, APEX_TTL, RdataType.HINFO, '"RFC8482" ""')]
    elif asked.rdtype in found:
        response.answer = [found[asked.rdtype]]
    else:
        if not found and not _has_below(name, authority, values):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority = [_soa(dns.name.from_text(zone), authority, serial, CHALLENGE_TTL)]


def _at(
    owner: dns.name.Name, name: str, zone: str, authority: Authority, values: Values, serial: int
) -> dict[RdataType, RRset]:
    """Every RRset at ``name``, under the spelling ``owner`` in which it was asked."""
    found: dict[RdataType, RRset] = {}
    if name == zone:
        found[RdataType.SOA] = _soa(owner, authority, serial, APEX_TTL)
        found[RdataType.NS] = _rrset(owner, APEX_TTL, RdataType.NS, f"{authority.nameserver}.")
    if name in values:
        texts = (TXT(RdataClass.IN, RdataType.TXT, [value]) for value in values[name])
        found[RdataType.TXT] = dns.rrset.from_rdata_list(owner, CHALLENGE_TTL, list(texts))
    if name == authority.nameserver:
        for rdtype, colons in ((RdataType.A, False), (RdataType.AAAA, True)):
            hosts = [host for host in authority.addresses if (":" in host) == colons]
            if hosts:
                found[rdtype] = _rrset(owner, APEX_TTL, rdtype, *hosts)
    return found


def _has_below(name: str, authority: Authority, values: Values) -> bool:
    """Whether ``name`` is an empty non-terminal: nothing there, something further down."""
    return any(within(other, name) for other in (*values, authority.nameserver, *authority.zones))


def _soa(owner: dns.name.Name, authority: Authority, serial: int, ttl: int) -> RRset:
    text = (
        f"{authority.nameserver}. {authority.hostmaster}. {serial} 3600 600 86400 {CHALLENGE_TTL}"
    )
    return _rrset(owner, ttl, RdataType.SOA, text)


def _rrset(owner: dns.name.Name, ttl: int, rdtype: RdataType, *texts: str) -> RRset:
    return dns.rrset.from_text(owner, ttl, RdataClass.IN, rdtype, *texts)


def _packed(query: Message, response: Message, *, udp: bool) -> bytes:
    limit = 65535
    if udp:
        asked = query.payload if query.edns >= 0 else 0
        limit = max(_PLAIN_UDP, min(asked, EDNS_PAYLOAD))
    try:
        return response.to_wire(max_size=limit, prefer_truncation=udp)
    except dns.exception.TooBig:  # beyond 64 KiB there is no way to say it all
        response.answer.clear()
        response.set_rcode(dns.rcode.SERVFAIL)
        return response.to_wire(max_size=limit)
