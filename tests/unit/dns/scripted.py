"""A DNS server on loopback that answers whatever a test says: what no real one can be made to."""

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from certrotd.address import Address
from tests.parts.listener import Listener
from tests.parts.process import free_port

Reply = dns.message.Message | bytes | None
Script = Callable[[dns.message.Message, bool], Reply | Sequence[Reply]]
"""From a query (and whether it came over UDP) to what is sent back, in order; None: nothing."""


def answer(
    query: dns.message.Message,
    *answers: str,
    authority: Sequence[str] = (),
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
) -> dns.message.Message:
    """A response with records written as ``name type data``, owners as they are."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.set_rcode(rcode)
    for section, lines in ((response.answer, answers), (response.authority, authority)):
        for line in lines:
            name, rdtype, text = line.split(" ", 2)
            rrset = dns.rrset.from_text(f"{name}.", 60, "IN", rdtype, text)
            same = [known for known in section if known.match(rrset.name, 1, rrset.rdtype, 0)]
            if same:
                same[0].update(rrset)  # type: ignore[no-untyped-call]
            else:
                section.append(rrset)
    return response


def asked(query: dns.message.Message) -> tuple[str, str]:
    """The name and the type a query is about."""
    (question,) = query.question
    return question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)


def _packed(reply: dns.message.Message, query: dns.message.Message, udp: bool) -> bytes:
    """On the wire; truncated over UDP where the asker has no room for it."""
    wire = reply.to_wire(max_size=65535)
    if udp and len(wire) > max(512, query.payload):
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        wire = reply.to_wire()
    return wire


class ScriptedDns(Listener):
    """UDP and TCP on one address, while used as a context manager."""

    def __init__(self, script: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(self._on_tcp, host=host, port=port or free_port("both", host))
        self.address = Address(host, self.port)
        self._script = script
        self.questions: list[tuple[str, str, bool]] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((host, self.port))
        self._udp_thread = threading.Thread(target=self._on_udp)

    def __enter__(self) -> Self:
        self._udp_thread.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.host, self.port))
        self._udp_thread.join()
        self._udp.close()

    def _replies(self, packet: bytes, udp: bool) -> list[bytes]:
        query = dns.message.from_wire(packet, keyring=False)
        self.questions.append((*asked(query), udp))
        replies = self._script(query, udp)
        if replies is None or isinstance(replies, dns.message.Message | bytes):
            replies = [replies]
        return [
            reply if isinstance(reply, bytes) else _packed(reply, query, udp)
            for reply in replies
            if reply is not None
        ]

    def _on_udp(self) -> None:
        while True:
            packet, sender = self._udp.recvfrom(65535)
            if not packet:
                return
            for reply in self._replies(packet, True):
                self._udp.sendto(reply, sender)

    def _on_tcp(self, connection: socket.socket) -> None:
        head = connection.recv(2)
        if not head:
            return
        packet = connection.recv(struct.unpack("!H", head)[0])
        for reply in self._replies(packet, False):
            connection.sendall(struct.pack("!H", len(reply)) + reply)
