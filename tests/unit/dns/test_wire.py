"""Anybody can send a UDP packet; only the answer to our question may count."""

import errno
import socket
import struct
import threading

import dns.flags
import dns.message
import dns.rcode
import pytest
from dns.message import Message
from hypothesis import given
from hypothesis import strategies as st

from certrotd.address import Address
from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.dns import wire
from certrotd.dns.resolve import soa_owner
from certrotd.dns.txt import txt_values
from certrotd.dns.wire import Silence, exchange, question
from tests.builders import soon
from tests.parts.process import free_port
from tests.unit.dns.scripted import Reply, ScriptedDns, answer

NAME = "_acme-challenge.example.com"


def _txt(query: Message, value: str = "right") -> Message:
    return answer(query, f"{NAME} TXT {value}")


def _ask(
    server: ScriptedDns, seconds: float = 60.0, *, edns: bool = True, tcp: bool = False
) -> Message | Silence:
    query = question(NAME, "TXT", recursion=False, edns=edns)
    return exchange(query, server.address, deadline=_standing(seconds), tcp=tcp)


def _standing(seconds: float) -> Deadline:
    """So much time for each wait, of which nothing passes in between."""
    return Deadline(ManualClock(SystemClock().now()), seconds)


def _values(reply: Message | Silence) -> set[str]:
    assert isinstance(reply, Message), reply
    return set(txt_values(reply, NAME).values)


def test_the_answer_comes_back() -> None:
    """The plain case, over UDP and nothing else."""
    with ScriptedDns(lambda query, udp: _txt(query)) as server:
        assert _values(_ask(server)) == {"right"}
        assert server.questions == [(NAME, "TXT", True)]


def test_recursion_is_asked_only_where_wanted() -> None:
    """An authoritative server that recurses for us would answer from somebody's cache."""
    assert question(NAME, "TXT", recursion=True).flags & dns.flags.RD
    assert not question(NAME, "TXT", recursion=False).flags & dns.flags.RD


def _other_id(query: Message) -> Message:
    spoof = _txt(query, "spoofed")
    spoof.id = (query.id + 1) % 65536
    return spoof


def _other_question(query: Message) -> Message:
    other = dns.message.make_query("other.example.com.", "TXT", id=query.id)
    return answer(other, f"{NAME} TXT spoofed")


def _no_response(query: Message) -> Message:
    return dns.message.make_query(f"{NAME}.", "TXT", id=query.id)


def _cut(query: Message) -> bytes:
    return _txt(query, "spoofed").to_wire()[:-3]


def test_packets_that_are_not_the_answer_are_waited_out() -> None:
    """CVE-2026-25518: crafted answers; a blind spoofer gets no say at all."""

    def script(query: Message, udp: bool) -> list[Reply]:
        return [
            b"\0",
            _other_id(query),
            _other_question(query),
            _no_response(query),
            _cut(query),
            _txt(query),
        ]

    with ScriptedDns(script) as server:
        assert _values(_ask(server)) == {"right"}


def test_foreign_packets_alone_count_as_silence() -> None:
    """The control of the above: without the answer there is none."""
    with ScriptedDns(lambda query, udp: [_other_id(query), _other_question(query)]) as server:
        assert _ask(server, 0.2) == Silence("no answer within 0.2 s")


def _truncated(query: Message) -> Message:
    cut = answer(query)
    cut.flags |= dns.flags.TC
    return cut


@pytest.mark.parametrize("edns", [True, False])
def test_a_truncated_answer_is_asked_again_over_tcp(edns: bool) -> None:
    """Wildcard and apex beside old leftovers do not fit into 512 octets."""
    with ScriptedDns(lambda query, udp: _truncated(query) if udp else _txt(query)) as server:
        assert _values(_ask(server, edns=edns)) == {"right"}
        assert [udp for _, _, udp in server.questions] == [True, False]


def test_an_answer_cut_in_the_middle_of_a_record_is_truncated_too() -> None:
    """Some servers cut by octets, which leaves a packet that does not parse."""

    def script(query: Message, udp: bool) -> Reply:
        if not udp:
            return _txt(query)
        whole = _txt(query)
        whole.flags |= dns.flags.TC
        return whole.to_wire()[:-4]

    with ScriptedDns(script) as server:
        assert _values(_ask(server)) == {"right"}


def test_tcp_can_be_asked_for_at_once() -> None:
    """Firewalls that drop UDP to a primary exist; `protocol: tcp` is for them."""
    with ScriptedDns(lambda query, udp: _txt(query)) as server:
        assert _values(_ask(server, tcp=True)) == {"right"}
        assert server.questions == [(NAME, "TXT", False)]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "closed the TCP connection without an answer"),
        (b"\0" * 12, "a malformed answer over TCP"),
    ],
)
def test_a_bad_answer_over_tcp_is_silence(reply: Reply, why: str) -> None:
    """A stream has no second packet to wait for."""
    with ScriptedDns(lambda query, udp: reply) as server:
        assert _ask(server, tcp=True) == Silence(why)


def test_a_server_that_accepts_and_says_nothing_costs_the_time_it_is_given() -> None:
    """A hung server must not hang a rotation."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        address = Address("127.0.0.1", hung.getsockname()[1])
        query = question(NAME, "TXT", recursion=False)
        assert exchange(query, address, deadline=_standing(0.2), tcp=True) == Silence(
            "no answer within 0.2 s"
        )


@pytest.mark.parametrize("tcp", [False, True])
def test_a_closed_port_is_reported_at_once(tcp: bool) -> None:
    """ "connection refused" points at the server, a timeout at the network."""
    query = question(NAME, "TXT", recursion=False)
    address = Address("127.0.0.1", free_port("both"))
    assert exchange(query, address, deadline=soon(), tcp=tcp) == Silence("connection refused")


@pytest.mark.parametrize(
    ("number", "routable"),
    [(errno.ENETUNREACH, False), (errno.EAFNOSUPPORT, False), (errno.EACCES, True)],
)
def test_no_route_and_no_answer_are_reported_differently(
    number: int, routable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without IPv6 must not wait for IPv6 addresses; a firewall is another matter."""

    class Unconnected(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(number, "says the kernel")

    monkeypatch.setattr(socket, "socket", Unconnected)
    said = exchange(
        question(NAME, "TXT", recursion=False), Address("2001:db8::1", 53), deadline=soon()
    )
    assert isinstance(said, Silence)
    assert said.routable is routable
    assert "says the kernel" in said.why


def test_a_family_the_kernel_lacks_has_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """ipv6.disable=1 makes the socket itself fail."""

    def without(*args: object, **kw: object) -> object:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    query = question(NAME, "TXT", recursion=False)
    deadline = soon()
    monkeypatch.setattr(socket, "socket", without)
    said = exchange(query, Address("2001:db8::1", 53), deadline=deadline)
    assert said == Silence("no route (Address family not supported by protocol)", routable=False)


def test_a_connection_that_is_never_accepted_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall that drops SYNs: TCP is what is closed there."""

    class Dropped(socket.socket):
        def connect(self, address: object) -> None:
            raise TimeoutError

    query = question(NAME, "TXT", recursion=False)
    monkeypatch.setattr(socket, "socket", Dropped)
    said = exchange(query, Address("192.0.2.1", 53), deadline=soon(), tcp=True)
    assert said == Silence("no TCP connection in time")


def test_a_connection_that_is_reset_is_reported() -> None:
    """What an overloaded server does to those it cannot serve."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            sock, _ = listener.accept()
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

        thread = threading.Thread(target=reset)
        thread.start()
        address = Address("127.0.0.1", listener.getsockname()[1])
        query = question(NAME, "TXT", recursion=False)
        said = exchange(query, address, deadline=soon(), tcp=True)
        thread.join()
    assert said == Silence("connection reset by peer")


def test_an_answer_that_trickles_in_is_bounded_by_the_deadline() -> None:
    """One octet per second keeps a socket timeout from ever firing."""
    clock = ManualClock(SystemClock().now())

    class Trickle:
        def settimeout(self, seconds: float) -> None:
            clock.sleep(1)

        def recv(self, count: int) -> bytes:
            return b"x"

    with pytest.raises(TimeoutError):
        wire._receive(Trickle(), 100, Deadline(clock, 10))  # type: ignore[arg-type]


def test_foreign_packets_are_bounded_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of other people's packets must not keep the wait alive."""
    clock = ManualClock(SystemClock().now())

    def foreign(query: Message, packet: bytes) -> None:
        clock.sleep(1)

    with ScriptedDns(lambda query, udp: [_other_id(query)] * 5) as server:
        monkeypatch.setattr(wire, "_read", foreign)
        query = question(NAME, "TXT", recursion=False)
        said = exchange(query, server.address, deadline=Deadline(clock, 3))
        assert said == Silence("no answer within 3 s")


def test_no_time_left_sends_nothing() -> None:
    """A passed deadline is not stretched by one more packet."""
    clock = ManualClock(SystemClock().now())
    with ScriptedDns(lambda query, udp: _txt(query)) as server:
        query = question(NAME, "TXT", recursion=False)
        said = exchange(query, server.address, deadline=Deadline(clock, 0))
        assert said == Silence("not asked: no time left")
        assert server.questions == []


_WHOLE = answer(
    question(NAME, "TXT", recursion=False),
    f"{NAME} TXT value",
    f"{NAME} CNAME other.example.com.",
    authority=["example.com SOA ns. h. 1 2 3 4 5"],
).to_wire()


@given(
    st.lists(
        st.tuples(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    st.integers(0, len(_WHOLE)),
)
def test_a_damaged_answer_is_read_or_ignored(changes: list[tuple[int, int]], cut: int) -> None:
    """No octets from a network may end a rotation with a traceback."""
    packet = bytearray(_WHOLE)
    for position, octet in changes:
        packet[position] = octet
    query = question(NAME, "TXT", recursion=False)
    query.id = int.from_bytes(packet[:2], "big")
    for octets in (bytes(packet), bytes(packet[:cut])):
        reply = wire._read(query, octets)
        if reply is not None:
            assert txt_values(reply, NAME).values <= {"value"} or changes
            soa_owner(reply, NAME)
            assert dns.rcode.to_text(reply.rcode())
