"""One DNS question to one server: UDP, then TCP where the answer did not fit.

dnspython reads and writes the messages; the sockets are ours because a *connected* UDP socket says
at once that nobody listens or that no route exists, and because waits are bounded by a Deadline.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.tsig
from dns.message import Message
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rrset import RRset

from certrotd.address import Address
from certrotd.clock import Deadline
from certrotd.dns.words import seconds

EDNS_PAYLOAD = 1232
"""Octets that cross the internet unfragmented (DNS flag day 2020)."""

TSIG_ERRORS = (
    dns.tsig.PeerError,
    dns.tsig.BadSignature,
    dns.tsig.BadTime,
    dns.tsig.BadKey,
    dns.tsig.BadAlgorithm,
)
"""What :func:`exchange` raises for a signed question: the keys or the clocks disagree."""

_NO_ROUTE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN}
)


@dataclass(frozen=True)
class Silence:
    """No usable answer, and why; ``routable`` is False when this machine has no way there."""

    why: str
    routable: bool = True


def question(name: str, rdtype: str, *, recursion: bool, edns: bool = True) -> Message:
    """A query for ``rdtype`` of ``name``; RD is set with ``recursion``.

    Without ``edns`` an answer above 512 octets costs a TCP connection, but each packet is cheaper.
    """
    return dns.message.make_query(
        f"{name}.",
        rdtype,
        flags=dns.flags.RD if recursion else 0,
        use_edns=0 if edns else None,
        payload=EDNS_PAYLOAD if edns else None,
    )


def exchange(
    query: Message, to: Address, *, deadline: Deadline, tcp: bool = False
) -> Message | Silence:
    """Send ``query`` once and wait until ``deadline`` for the answer that belongs to it.

    ``to`` is an IP address. Packets that do not parse, or answer another question, are ignored:
    anybody can send them. Raises one of TSIG_ERRORS, only for a signed ``query``.
    """
    if deadline.passed:
        return Silence("not asked: no time left")
    wire = query.to_wire()
    if not tcp:
        answer = _over_udp(query, wire, to, deadline)
        if answer is not None:
            return answer
    return _over_tcp(query, wire, to, deadline)


def code(answer: Message) -> str:
    """The RCODE in the words of RFC 1035 and its successors: ``SERVFAIL``, ``NXDOMAIN``, …"""
    return dns.rcode.to_text(answer.rcode())


def records(answer: Message, name: str, rdtype: RdataType) -> RRset | None:
    """The records of one type that the answer holds for exactly ``name``, if any."""
    return answer.get_rrset(answer.answer, dns.name.from_text(f"{name}."), RdataClass.IN, rdtype)


def _over_udp(
    query: Message, wire: bytes, to: Address, deadline: Deadline
) -> Message | Silence | None:
    """None if the answer is truncated: it is to be asked again over TCP (RFC 7766 §5)."""
    patience = deadline.remaining
    sock = _connected(socket.SOCK_DGRAM, to, deadline)
    if isinstance(sock, Silence):
        return sock
    with sock:
        try:
            sock.send(wire)
            while left := deadline.remaining:
                sock.settimeout(left)
                packet = sock.recv(65535)
                # TC=1: the rest may be cut in the middle, so nothing past the header is read.
                if _is_ours(query, packet) and packet[2] & 0x02:
                    return None
                answer = _read(query, packet)
                if answer is not None:
                    return answer
        except TimeoutError:
            return _late(patience)
        except OSError as error:
            return _broken(error)
    return _late(patience)


def _over_tcp(query: Message, wire: bytes, to: Address, deadline: Deadline) -> Message | Silence:
    patience = deadline.remaining
    sock = _connected(socket.SOCK_STREAM, to, deadline)
    if isinstance(sock, Silence):
        return sock
    with sock:
        try:
            sock.sendall(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", _receive(sock, 2, deadline))
            answer = _read(query, _receive(sock, length, deadline))
        except TimeoutError:
            return _late(patience)
        except EOFError:
            return Silence("closed the TCP connection without an answer")
        except OSError as error:
            return _broken(error)
    return Silence("a malformed answer over TCP") if answer is None else answer


def _connected(kind: socket.SocketKind, to: Address, deadline: Deadline) -> socket.socket | Silence:
    try:
        sock = socket.socket(to.family, kind)
    except OSError as error:
        return _broken(error, connecting=True)
    try:
        if kind == socket.SOCK_STREAM:  # a datagram's way needs no waiting
            # A remainder of exactly zero would mean "do not block", which is another error.
            sock.settimeout(max(deadline.remaining, 0.001))
        sock.connect((to.host, to.port))
    except TimeoutError:
        sock.close()
        return Silence("no TCP connection in time")
    except OSError as error:
        sock.close()
        return _broken(error, connecting=True)
    return sock


def _receive(sock: socket.socket, count: int, deadline: Deadline) -> bytes:
    """Exactly ``count`` octets; EOFError if the other side stops before."""
    parts = bytearray()
    while len(parts) < count:
        left = deadline.remaining
        if not left:
            raise TimeoutError
        sock.settimeout(left)
        part = sock.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _is_ours(query: Message, packet: bytes) -> bool:
    """Whether ``packet`` has a header with the id of ``query`` and QR set."""
    return (
        len(packet) >= 12 and packet[:2] == struct.pack("!H", query.id) and bool(packet[2] & 0x80)
    )


def _read(query: Message, packet: bytes) -> Message | None:
    """The answer in ``packet``, or None if it is not one to ``query``."""
    # First of all: a TSIG error in a packet that is not ours says nothing about our key.
    if not _is_ours(query, packet):
        return None
    try:
        answer = dns.message.from_wire(
            packet,
            keyring=query.keyring,
            request_mac=query.mac if query.keyring else b"",
        )
    except TSIG_ERRORS:
        raise
    except dns.exception.DNSException:
        return _unsigned_refusal(query, packet)
    if query.keyring and not answer.had_tsig and answer.rcode() == dns.rcode.NOERROR:
        return None  # older releases of dnspython let an unsigned answer pass
    return answer if query.is_response(answer) else None


def _unsigned_refusal(query: Message, packet: bytes) -> Message | None:
    """The error with which a server that knows no TSIG answers a signed ``query``, or None.

    Only errors are believed unsigned (RFC 8945 §5.3.2): they make the act fail, and say why.
    """
    if not query.keyring:
        return None
    try:
        answer = dns.message.from_wire(packet, keyring=False)
    except dns.exception.DNSException:
        return None
    if answer.had_tsig or answer.rcode() == dns.rcode.NOERROR:
        return None
    return answer if query.is_response(answer) else None


def _late(patience: float) -> Silence:
    return Silence(f"no answer within {seconds(patience)}")


def _broken(error: OSError, *, connecting: bool = False) -> Silence:
    if connecting and error.errno in _NO_ROUTE:
        return Silence(f"no route ({error.strerror})", routable=False)
    return Silence((error.strerror or type(error).__name__).lower())
