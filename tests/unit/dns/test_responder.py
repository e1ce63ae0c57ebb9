"""The responder as others meet it: through sockets, beside other processes, until it ends."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from dns.message import Message

from certrotd.address import Address
from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.dns import responder as module
from certrotd.dns import serve
from certrotd.dns.records import TxtRecord
from certrotd.dns.responder import Responder
from certrotd.dns.serve import DnsServer
from certrotd.dns.txt import txt_values
from certrotd.dns.wire import exchange, question
from certrotd.errors import InvalidInput, NeedsOperator
from tests.builders import soon
from tests.fakes.clock import Pauses, Until
from tests.parts.process import free_port, wait_until
from tests.unit.dns.scripted import ScriptedDns, answer

ZONE = "acme.example.net"
RECORD = TxtRecord(f"a.{ZONE}", "value")
Make = Callable[..., Responder]


@pytest.fixture
def address() -> Address:
    return Address("127.0.0.1", free_port("both"))


@pytest.fixture
def make(tmp_path: Path, address: Address) -> Iterator[Make]:
    """Makes responders with one zone, address and directory unless told otherwise."""
    made: list[Responder] = []

    def responder(**changes: object) -> Responder:
        settings: dict[str, object] = {
            "listen": (address,),
            "zones": (ZONE, "_acme-challenge.example.com"),
            "nameserver": "ns.example.org",
            "hostmaster": "hostmaster@example.org",
            "directory": tmp_path / "dns",
            "clock": SystemClock(),
            **changes,
        }
        made.append(Responder(**settings))  # type: ignore[arg-type]
        return made[-1]

    yield responder
    for one in made:
        one.close()


def _ask(to: Address, name: str = RECORD.name, *, tcp: bool = False) -> Message:
    query = question(name, "TXT", recursion=False)
    reply = exchange(query, to, deadline=soon(), tcp=tcp)
    assert isinstance(reply, Message), reply
    return reply


def _values(to: Address, name: str = RECORD.name, *, tcp: bool = False) -> set[str]:
    return set(txt_values(_ask(to, name, tcp=tcp), name).values)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_presented_records_are_answered_everywhere(make: Make, host: str, tcp: bool) -> None:
    """Both transports, both families, one address or all of them."""
    address = Address(host, free_port("both"))
    make(listen=(address,)).present(RECORD, deadline=soon())
    at = Address("::1" if ":" in host else "127.0.0.1", address.port)
    assert _values(at, tcp=tcp) == {"value"}
    assert _ask(at, f"b.{ZONE}", tcp=tcp).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("wildcard", "asked"), [("0.0.0.0", "127.0.0.2"), ("0.0.0.0", "127.3.2.1"), ("::", "::1")]
)
def test_the_reply_leaves_from_the_address_that_was_asked(
    make: Make, wildcard: str, asked: str
) -> None:
    """A host with several addresses: resolvers drop what comes from another one."""
    address = Address(wildcard, free_port("both"))
    make(listen=(address,)).present(RECORD, deadline=soon())
    # exchange() uses a connected socket, which takes replies from the asked address only.
    assert _values(Address(asked, address.port)) == {"value"}


def test_several_addresses_are_answered_at_once(make: Make) -> None:
    """A public IPv4 and IPv6 address are the common case."""
    addresses = (Address("127.0.0.1", free_port("both")), Address("::1", free_port("both")))
    make(listen=addresses).present(RECORD, deadline=soon())
    assert [_values(address) for address in addresses] == [{"value"}, {"value"}]


def test_the_responder_does_not_listen_before_it_is_needed(make: Make, address: Address) -> None:
    """`certrotd status` must not open port 53."""
    responder = make()
    responder.withdraw(RECORD, deadline=soon())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port))
    responder.preflight(deadline=soon())
    assert _ask(address, ZONE).rcode() == dns.rcode.NOERROR


def test_a_responder_that_is_closed_frees_the_address(make: Make, address: Address) -> None:
    """The next process finds it free at once; starting and closing twice is no more than once."""
    responder = make()
    for _ in range(2):
        responder.start()
        assert _ask(address, ZONE).rcode() == dns.rcode.NOERROR
    responder.close()
    with socket.create_server((address.host, address.port)):
        pass
    responder.close()


def test_records_outlive_the_server_until_withdrawn(make: Make, address: Address) -> None:
    """After a crash the journal says what to withdraw; until then the record stays."""
    first = make()
    first.present(RECORD, deadline=soon())
    first.close()
    second = make()
    second.start()
    assert _values(address) == {"value"}
    second.withdraw(RECORD, deadline=soon())
    assert _values(address) == set()


def test_a_name_outside_the_zones_is_refused(make: Make, address: Address) -> None:
    """It would be written and never answered; nothing is started for it."""
    with pytest.raises(NeedsOperator, match=r"is in none of the responder's zones \(acme\."):
        make().present(TxtRecord("a.example.org", "value"), deadline=soon())


def test_a_second_process_is_answered_for_by_the_first(make: Make, address: Address) -> None:
    """A one-shot command beside the daemon: one of them has the address, both are served."""
    daemon, command = make(), make()
    daemon.start()
    command.preflight(deadline=soon())
    command.present(RECORD, deadline=soon())
    assert _values(address) == {"value"}


def test_when_the_first_ends_the_second_takes_over(make: Make, address: Address) -> None:
    """The record of the second would otherwise vanish in the middle of a validation."""
    first, second = make(), make()
    first.start()
    second.present(RECORD, deadline=soon())
    first.close()
    wait_until(lambda: not second._waiting())
    assert _values(address) == {"value"}


def test_a_real_second_process_shares_the_records(
    make: Make, address: Address, tmp_path: Path
) -> None:
    """Not two objects but two processes, as a daemon and `certrotd rotate` are."""
    program = (
        "import sys; from pathlib import Path; from certrotd.clock import Deadline, SystemClock\n"
        "from certrotd.address import Address; from certrotd.dns.records import TxtRecord\n"
        "from certrotd.dns.responder import Responder\n"
        "clock = SystemClock()\n"
        f"one = Responder(listen=(Address('127.0.0.1', {address.port}),), zones=({ZONE!r},),\n"
        "    nameserver='ns.example.org', hostmaster='h.example.org', clock=clock,\n"
        f"    directory=Path({str(tmp_path / 'dns')!r}))\n"
        f"one.present(TxtRecord({RECORD.name!r}, 'theirs'), deadline=Deadline(clock, 60))\n"
        "one.close()\n"
    )
    make().present(RECORD, deadline=soon())
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
    assert _values(address) == {"value", "theirs"}


@pytest.mark.parametrize("act", ["present", "preflight"])
def test_a_stranger_at_the_address_is_reported(make: Make, tmp_path: Path, act: str) -> None:
    """systemd-resolved, dnsmasq, or a certrotd with another state directory."""
    with ScriptedDns(lambda query, udp: answer(query, rcode=dns.rcode.REFUSED)) as stranger:
        responder = make(listen=(stranger.address,))
        acts: dict[str, Callable[[Deadline], None]] = {
            "present": lambda deadline: responder.present(RECORD, deadline=deadline),
            "preflight": lambda deadline: responder.preflight(deadline=deadline),
        }
        with pytest.raises(NeedsOperator) as caught:
            acts[act](Deadline(Until(lambda: len(stranger.questions) >= 2), 60.0))
    said = str(caught.value)
    assert f"DNS address {stranger.address} is in use" in said
    assert "REFUSED" in said
    assert "one state directory" in said
    assert list((tmp_path / "dns").iterdir()) == [] or act == "present"


def test_the_last_moment_does_not_hide_what_a_stranger_said(make: Make) -> None:
    """With no time left anybody is silent; the answer before it is what tells who that is."""
    clock = ManualClock(SystemClock().now())

    def script(query: Message, udp: bool) -> Message | bytes:
        if len(stranger.questions) == 1:
            return answer(query, rcode=dns.rcode.REFUSED)
        clock.sleep(60)
        return b"nothing to do with it"

    with ScriptedDns(script) as stranger, pytest.raises(NeedsOperator, match="REFUSED"):
        make(listen=(stranger.address,)).present(RECORD, deadline=Deadline(clock, 60.0))


def test_a_certrotd_with_other_records_is_a_stranger(
    make: Make, tmp_path: Path, address: Address
) -> None:
    """Two state directories at one address: the second one's records are never seen."""
    make().start()
    other = make(directory=tmp_path / "other")
    with pytest.raises(NeedsOperator, match="in use by a program that does not answer from"):
        other.present(RECORD, deadline=soon(0.4))


def test_a_silent_stranger_is_reported(make: Make) -> None:
    """Something holds the port and does not speak DNS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        address = Address("127.0.0.1", free_port("both"))
        mute.bind((address.host, address.port))
        with pytest.raises(NeedsOperator, match="no answer within"):
            make(listen=(address,)).present(RECORD, deadline=Deadline(Pauses(1), 0.1))
        with pytest.raises(NeedsOperator, match="not asked: no time left"):
            make(listen=(address,)).present(RECORD, deadline=soon(0))


def test_an_address_that_becomes_free_meanwhile_is_taken(make: Make, address: Address) -> None:
    """The first process may end just while the second one asks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind((address.host, address.port))

        def end() -> None:
            mute.recv(100)  # the question
            mute.close()

        first = threading.Thread(target=end)
        first.start()
        second = make()
        waiting = Until(lambda: False)
        second.present(RECORD, deadline=Deadline(waiting, 60.0))
        first.join()
    assert _values(address) == {"value"}


def test_a_half_taken_address_is_in_use(make: Make, address: Address) -> None:
    """UDP without TCP would answer small questions only."""
    with socket.create_server((address.host, address.port)):
        responder = make()
        responder.start()
        assert responder._waiting() == (address,)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (13, "CAP_NET_BIND_SERVICE"),
        (99, "an address of this machine"),
        (97, "no IPv6"),
        (5, "kernel log"),
    ],
)
def test_an_address_that_cannot_be_ours_is_reported(
    make: Make, number: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Port 53 without the capability is the first thing everybody meets."""

    def refused(address: Address) -> object:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(serve, "_bound", refused)
    with pytest.raises(NeedsOperator) as caught:
        make().present(RECORD, deadline=soon())
    assert "the DNS responder cannot listen on 127.0.0.1:" in caught.value.message
    assert os.strerror(number) in caught.value.message
    assert hint in caught.value.hint


def test_a_foreign_address_is_really_refused(make: Make) -> None:
    """The control of the above: the kernel says it too, and the next try may work."""
    responder = make(listen=(Address("127.0.0.1", free_port("both")), Address("192.0.2.77", 5353)))
    for _ in range(2):
        with pytest.raises(NeedsOperator, match="Cannot assign requested address"):
            responder.start()


def test_unreadable_records_are_servfail(make: Make, tmp_path: Path, address: Address) -> None:
    """NXDOMAIN would be believed and cached; the propagation check sees SERVFAIL."""
    make().start()
    (tmp_path / "dns").write_text("")
    assert _ask(address).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("changes", [{"zones": ("a b",)}, {"nameserver": ""}, {"hostmaster": "@"}])
def test_names_of_the_configuration_are_checked(make: Make, changes: dict[str, object]) -> None:
    """A bad SOA would make every answer malformed."""
    with pytest.raises(InvalidInput):
        make(**changes)


def test_a_nameserver_inside_the_zone_has_addresses(make: Make, address: Address) -> None:
    """Nobody but this responder could say where it is."""
    make(nameserver=f"ns.{ZONE}", addresses=("192.0.2.1",)).start()
    query = question(f"ns.{ZONE}", "A", recursion=False)
    reply = exchange(query, address, deadline=soon())
    assert isinstance(reply, Message)
    assert reply.answer[0][0].to_text() == "192.0.2.1"


def test_many_threads_present_and_withdraw_at_once(make: Make, address: Address) -> None:
    """Two hundred certificates are obtained over threads of one process."""
    responder = make()

    def work(part: int) -> None:
        for n in range(8):
            record = TxtRecord(f"a{part}.{ZONE}", f"value{n}")
            responder.present(record, deadline=soon())
            assert record.value in _values(address, record.name)
            if n % 2:
                responder.withdraw(record, deadline=soon())

    threads = [threading.Thread(target=work, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in range(6):
        assert _values(address, f"a{part}.{ZONE}") == {f"value{n}" for n in range(0, 8, 2)}


def _echo(packet: bytes, udp: bool) -> bytes | None:
    """Answers with what was asked; `silence` with nothing, `big` with much."""
    if packet == b"silence":
        return None
    return packet * 10_000 if packet == b"big" else packet


@pytest.fixture
def echo(address: Address) -> Iterator[DnsServer]:
    """A server that echoes, whose idle time passes when the test says so."""
    server = DnsServer((address,), _echo, ManualClock(SystemClock().now()))
    server.start()
    yield server
    server.close()


def _framed(packet: bytes) -> bytes:
    return struct.pack("!H", len(packet)) + packet


def _receive(sock: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        part = sock.recv(count - len(octets))
        assert part, "closed"
        octets += part
    return octets


def _connect(address: Address) -> socket.socket:
    sock = socket.create_connection((address.host, address.port))
    sock.settimeout(60)
    return sock


@pytest.mark.usefixtures("echo")
def test_a_tcp_connection_carries_many_queries(address: Address) -> None:
    """RFC 7766 §6.2.1: pipelined, in pieces, however the network cuts them."""
    with _connect(address) as sock:
        sock.sendall(_framed(b"one") + _framed(b"two") + _framed(b"three")[:4])
        assert _receive(sock, 10) == _framed(b"one") + _framed(b"two")
        sock.sendall(b"ree")
        assert _receive(sock, 7) == _framed(b"three")


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("sent", [struct.pack("!H", 4097), _framed(b"silence")])
def test_a_length_that_no_resolver_sends_ends_the_connection(address: Address, sent: bytes) -> None:
    """A length prefix of 64 KiB is a reservation of memory; silence is no answer over TCP."""
    with _connect(address) as sock:
        sock.sendall(sent)
        assert sock.recv(1) == b""
    with _connect(address) as sock:
        sock.sendall(_framed(b"x" * 4096))
        assert _receive(sock, 4098) == _framed(b"x" * 4096)


def test_an_idle_connection_is_closed(address: Address, echo: DnsServer) -> None:
    """Sixty-four idle clients would otherwise keep everyone else out."""
    with _connect(address) as idle, _connect(address) as busy:
        for sock in (idle, busy):
            sock.sendall(_framed(b"one"))
            _receive(sock, 5)
        echo._clock.sleep(4)
        busy.sendall(_framed(b"two"))
        _receive(busy, 5)
        echo._clock.sleep(2)
        busy.sendall(_framed(b"three"))
        _receive(busy, 7)
        assert idle.recv(1) == b""


@pytest.mark.usefixtures("echo")
def test_the_number_of_connections_is_bounded(address: Address) -> None:
    """The one that was quiet the longest makes room (RFC 7766 §6.2.3)."""
    socks = [_connect(address) for _ in range(serve.MAX_CONNECTIONS)]
    for sock in socks:
        sock.sendall(_framed(b"one"))
        _receive(sock, 5)
    with _connect(address) as late:
        late.sendall(_framed(b"one"))
        _receive(late, 5)
        closed = 0
        for sock in socks:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                closed += sock.recv(1) == b""
            sock.close()
        assert closed == 1


def test_a_client_that_never_reads_is_not_answered_without_end(
    address: Address, echo: DnsServer
) -> None:
    """Replies that nobody takes must not pile up in memory; once read, all are there."""
    count = 200
    with _connect(address) as sock:
        sock.settimeout(0.5)
        sent = 0
        asked = _framed(b"big") * count
        try:
            while sent < len(asked):
                sent += sock.send(asked[sent:])
        except TimeoutError:
            pass
        with _connect(address) as other:
            for _ in range(20):
                other.sendall(_framed(b"one"))
                _receive(other, 5)
                unsent = [len(one.unsent) for one in tuple(echo._connections.values())]
                assert max(unsent) < 64 * 1024 + 30_002
        sock.settimeout(60)
        for _ in range(sent // 5):
            assert _receive(sock, 30_002)[:5] == struct.pack("!H", 30_000) + b"big"


def test_udp_is_quick_beside_clients_that_pipeline_without_end(address: Address) -> None:
    """Sixty-four of them, each with hundreds of questions sent: no more than a turn goes before."""
    order, open_ = [], threading.Event()

    def answer(packet: bytes, udp: bool) -> bytes:
        order.append("udp" if udp else "tcp")
        open_.wait(60)
        return packet

    server = DnsServer((address,), answer, SystemClock())
    server.start()
    try:
        socks = [_connect(address) for _ in range(serve.MAX_CONNECTIONS)]
        for sock in socks:
            sock.sendall(_framed(b"q") * 300)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quick:
            quick.settimeout(60)
            quick.connect((address.host, address.port))
            quick.send(b"u")
            open_.set()
            assert quick.recv(10) == b"u"
        # a turn was under way, and another may have been when the packet came
        assert order.index("udp") <= 2 * serve.MAX_CONNECTIONS
        for sock in socks:
            assert _receive(sock, 3 * 300) == _framed(b"q") * 300
            sock.close()
    finally:
        server.close()


@pytest.mark.usefixtures("echo")
def test_a_connection_has_only_so_many_questions_answered(address: Address) -> None:
    """Whoever asks without end begins again, behind the others."""
    with _connect(address) as sock:
        sock.sendall(_framed(b"q") * serve.MAX_QUERIES)
        assert _receive(sock, 3 * serve.MAX_QUERIES)[:3] == _framed(b"q")
        assert sock.recv(1) == b""


@pytest.mark.usefixtures("echo")
def test_a_reset_connection_stops_nobody(address: Address) -> None:
    """Port scanners end connections with RST."""
    for _ in range(3):
        sock = _connect(address)
        sock.sendall(_framed(b"big") * 50)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    with _connect(address) as sock:
        sock.sendall(_framed(b"one"))
        assert _receive(sock, 5) == _framed(b"one")


@pytest.mark.usefixtures("echo")
def test_silence_over_udp_sends_nothing(address: Address) -> None:
    """The next packet is answered as if the first had not been."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.connect((address.host, address.port))
        sock.send(b"silence")
        sock.send(b"one")
        assert sock.recv(100) == b"one"


def test_too_many_open_files_cost_a_connection_not_the_thread(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accept() fails and the listener stays readable: without care that is a spinning thread."""
    clock = ManualClock(SystemClock().now())
    server = DnsServer((address,), _echo, clock)
    full = True

    class Full(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            if full:
                raise OSError(24, "Too many open files")
            return super().accept()

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Full)
        server.start()
    try:
        before = clock.monotonic()
        with _connect(address) as sock:
            sock.sendall(_framed(b"one"))
            wait_until(lambda: clock.monotonic() > before)
            full = False
            assert _receive(sock, 5) == _framed(b"one")
    finally:
        server.close()


def test_the_confirmation_is_asked_where_a_wildcard_is_reached() -> None:
    """Nobody can send to 0.0.0.0 and mean a stranger."""
    assert module._asked_at(Address("0.0.0.0", 53)) == Address("127.0.0.1", 53)
    assert module._asked_at(Address("::", 53)) == Address("::1", 53)
    assert module._asked_at(Address("192.0.2.1", 53)) == Address("192.0.2.1", 53)
