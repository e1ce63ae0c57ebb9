"""Whatever is at the other end of a D-Bus socket, it is understood in time and size, or told."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    Parser,
    new_error,
    new_method_return,
    new_signal,
)

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import Failure, InvalidInput, NeedsOperator, Transient
from certrotd.targets.answers import ErrorReply, Late, only
from certrotd.targets.bus import MAX_MESSAGE, Bus
from certrotd.targets.units import Systemd, connect, system_bus
from tests.parts.process import descriptors

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SERVICE = "org.example.Service"
FIRST = 3  # the serial of the first call of the service, after Hello and GetNameOwner
OWNER, STRANGER, DRIVER = ":1.7", ":1.66", "org.freedesktop.DBus"
EMITTER = DBusAddress("/x", interface="x.Y")
Answer = Callable[[Message], list[Message] | bytes]


def within(seconds: float = 60.0) -> Deadline:
    """That much time."""
    return Deadline(SystemClock(), seconds)


def of(sender: str, message: Message, *, to: int | None = None) -> Message:
    """The message, as the bus would pass it on; ``to`` is the serial it claims to answer."""
    message.header.fields[HeaderFields.sender] = sender
    if to is not None:
        message.header.fields[HeaderFields.reply_serial] = to
    return message


def usual(call: Message) -> list[Message]:
    """What a bus with the service on it answers to get somebody started."""
    name = OWNER if call.header.fields[HeaderFields.member] == "GetNameOwner" else ":1.9"
    return [of(DRIVER, new_method_return(call, "s", (name,)))]


class Peer:
    """Something that listens where a bus is expected, for one connection."""

    def __init__(self, folder: Path, answer: Answer, greeting: bytes = b"OK 0123\r\n") -> None:
        self.address = f"unix:path={folder}/bus"
        self.calls: list[Message] = []
        self._answer, self._greeting = answer, greeting
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/bus")
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Peer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, suppress(ConnectionError):
            auth = connection.recv(1024)
            assert auth.startswith(b"\0AUTH EXTERNAL ")
            connection.sendall(self._greeting)
            rest = connection.recv(4096)
            assert rest.startswith(b"BEGIN\r\n") or not rest
            parser, data = Parser(), rest.removeprefix(b"BEGIN\r\n")
            while data or (data := connection.recv(4096)):
                for call in parser.feed(data):
                    self._reply(connection, call)
                data = b""

    def _reply(self, connection: socket.socket, call: Message) -> None:
        self.calls.append(call)
        # Hello and GetNameOwner are served as usual
        answer = usual(call) if len(self.calls) <= 2 else self._answer(call)
        if isinstance(answer, bytes):
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            return
        for number, each in enumerate(answer):
            connection.sendall(each.serialise(serial=100 + number))


def connected(ours: socket.socket, seconds: float = 60.0) -> Bus:
    """A connection that has been made."""
    bus = Bus.__new__(Bus)
    bus._socket, bus._deadline, bus._service = ours, within(seconds), SERVICE
    return bus


@contextmanager
def talking(folder: Path, answer: Answer) -> Iterator[Bus]:
    """A connection to a service that answers so."""
    with Peer(folder, answer) as peer, Bus(peer.address, SERVICE, within()) as bus:
        yield bus


def ask(bus: Bus) -> tuple[object, ...]:
    """One call of the service."""
    return bus.call("/x", "x.Y", "Ask", "s", ("what",))


def test_a_call_is_answered(tmp_path: Path) -> None:
    """The control: so it goes with a peer that is sound."""
    with talking(tmp_path, lambda call: [of(OWNER, new_method_return(call, "u", (7,)))]) as bus:
        assert ask(bus) == (7,)


def test_an_error_is_raised_with_its_name(tmp_path: Path) -> None:
    """With the text for people, or without one."""

    def answers(call: Message) -> list[Message]:
        text = ("s", ("a\nb",)) if call.header.serial == FIRST else ()
        return [of(OWNER, new_error(call, "x.No", *text))]

    with talking(tmp_path, answers) as bus:
        with pytest.raises(ErrorReply, match=r"^a b \[x.No\]$") as said:
            ask(bus)
        assert said.value.name == "x.No"
        with pytest.raises(ErrorReply, match=r"no reason given \[x.No\]"):
            ask(bus)


def test_only_who_was_asked_can_answer(tmp_path: Path) -> None:
    """Nor is an answer to something else taken for this one."""

    def answers(call: Message) -> list[Message]:
        return [
            of(STRANGER, new_method_return(call, "s", ("stranger's",))),
            of(OWNER, new_method_return(call, "s", ("to another",)), to=99),
            of(OWNER, new_signal(EMITTER, "Ask", "s", ("signal",))),
            of(OWNER, new_method_return(call, "s", ("right",))),
        ]

    with talking(tmp_path, answers) as bus:
        assert ask(bus) == ("right",)


def test_only_the_service_can_signal(tmp_path: Path) -> None:
    """Anybody on a system bus may send signals to anybody; those that came early are kept."""

    def answers(call: Message) -> list[Message]:
        return [
            of(STRANGER, new_signal(EMITTER, "Done", "s", ("stranger's",))),
            of(OWNER, new_signal(EMITTER, "Begun", "s", ("another",))),
            of(OWNER, new_signal(EMITTER, "Done", "s", ("early",))),
            of(OWNER, new_method_return(call)),
            of(STRANGER, new_signal(EMITTER, "Done", "s", ("stranger's",))),
            of(OWNER, new_signal(EMITTER, "Done", "s", ("late",))),
        ]

    with talking(tmp_path, answers) as bus:
        assert ask(bus) == ()
        assert [bus.signal("Done"), bus.signal("Done")] == [("early",), ("late",)]


def test_what_does_not_answer_is_left_at_the_deadline(tmp_path: Path) -> None:
    """A manager that hangs must not hold the rotation."""
    with talking(tmp_path, lambda _call: []) as bus:
        bus._deadline = within(0.2)
        with pytest.raises(Late, match=f"{SERVICE} did not answer on D-Bus in time"):
            ask(bus)
        with pytest.raises(Late):
            bus.signal("Done")


def test_what_talks_without_end_is_left_at_the_deadline(tmp_path: Path) -> None:
    """Each message in time, and never the one that was awaited."""
    clock = ManualClock(NOW)

    def chatter(call: Message) -> list[Message]:
        clock.sleep(60)
        noise = of(STRANGER, new_signal(EMITTER, "Noise", "s", ("x" * 100,)))
        return [noise] * 50

    deadline = Deadline(clock, 60.0)
    with Peer(tmp_path, chatter) as peer, Bus(peer.address, SERVICE, deadline) as bus:
        with pytest.raises(Late):
            ask(bus)
        assert len(peer.calls) == FIRST


def test_no_time_left_is_no_time_without_end(tmp_path: Path) -> None:
    """A socket takes a timeout of 0 for none at all."""
    with pytest.raises(Late):
        Bus(f"unix:path={tmp_path}/bus", SERVICE, Deadline(ManualClock(NOW), 0.0))


def garbage() -> dict[str, bytes]:
    """What is no D-Bus, or more than anybody should take."""
    huge = struct.pack("<cBBBII", b"l", 2, 0, 1, MAX_MESSAGE, 1) + struct.pack("<I", 0)
    fields = b"\x05\x01u\0\3\0\0\0" + b"\x08\x01g\0"
    empty = fields + b"\x03a()\0"
    endless = struct.pack("<cBBBIII", b"l", 2, 0, 1, 16, 1, len(empty)) + empty + b"\0" * 7
    deep = b"\x08\x01g\0\x01v\0"
    nested = b"\1v\0" * 9000
    bottomless = struct.pack("<cBBBIII", b"l", 2, 0, 1, len(nested), 1, len(deep)) + deep + b"\0"
    return {
        "http": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        "huge": huge + b"\0" * 100,
        "more than there can be": b"l\2\0\1" + b"\xff" * 12,
        "an endless array": endless + b"\4\0\0\0" * 4,
        "a bottomless variant": bottomless + nested,
        "zeros": b"\0" * 64,
        "a wrong type": b"l\x09\0\1" + b"\0" * 60,
        "cut off": b"l\2\0\1",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", garbage())
def test_what_is_no_dbus_is_refused(tmp_path: Path, name: str) -> None:
    """At once, and without holding more than a message may be."""
    refused = pytest.raises((InvalidInput, Transient))
    with talking(tmp_path, lambda _call: garbage()[name]) as bus, refused as said:
        ask(bus)
    expected = "broke: it was closed" if name in ("cut off", "nothing") else "D-Bus"
    assert expected in said.value.message
    assert not isinstance(said.value, Late)


@settings(max_examples=150)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_lead_to_anything_but_a_failure(data: bytes, framed: bool) -> None:
    """Whatever a peer sends."""
    if framed:
        data = struct.pack("<cBBBIII", b"l", 2, 0, 1, max(0, len(data) - 8), 1, 8) + data
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with suppress(Failure):
            connected(ours)._receive()


def test_a_connection_that_breaks_is_said() -> None:
    """The bus was restarted; the next try finds it again."""
    acts: list[Callable[[Bus], object]] = [
        lambda bus: bus._send(b"more"),
        lambda bus: bus._read(1),
    ]
    for act in acts:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(b"what nobody reads")
            theirs.close()
            with pytest.raises(Transient, match=f"connection to {SERVICE} broke: (Conn|Broken)"):
                act(connected(ours))


def test_what_takes_nothing_is_left_at_the_deadline() -> None:
    """A peer that is stopped reads no more than its socket holds."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Late):
        connected(ours, 0.2)._send(b"x" * 10_000_000)


def test_a_bus_with_a_queue_before_it_is_asked_later(tmp_path: Path) -> None:
    """It accepts nobody for the time being."""
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as others:
        listener.bind(f"{tmp_path}/bus")
        listener.listen(0)
        with suppress(BlockingIOError):
            while True:
                other = others.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                other.connect(f"{tmp_path}/bus")
        with pytest.raises(Late):
            Bus(f"unix:path={tmp_path}/bus", SERVICE, within(1.0))


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"REJECTED KERBEROS_V4\r\n", "does not let us in"),
        (b"OK 1\r\nmore", "does not let us in"),
        (b"x" * 9000, "does not let us in"),
    ],
)
def test_a_bus_that_lets_nobody_in_says_so(tmp_path: Path, greeting: bytes, words: str) -> None:
    """Another user's bus, or something else altogether."""
    with Peer(tmp_path, usual, greeting) as peer, pytest.raises(NeedsOperator, match=words):
        Bus(peer.address, SERVICE, within())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("unix:path=/no/such/bus", "No such file or directory"),
        ("unix:path=/dev/null", "Connection refused"),
        (f"unix:path=/{'x' * 200}", "too long"),
        ("tcp:host=127.0.0.1,port=1", "not supported"),
        ("", "cannot reach D-Bus"),
        ("unix:", "cannot reach D-Bus"),
        ("/run/dbus/system_bus_socket", "cannot reach D-Bus"),
    ],
)
def test_where_there_is_no_bus_is_said(address: str, words: str) -> None:
    """With the address that was tried."""
    with pytest.raises(NeedsOperator, match=words) as said:
        Bus(address, SERVICE, within())
    assert "DBUS_SYSTEM_BUS_ADDRESS" in said.value.hint


def test_a_bus_without_the_service_is_said(tmp_path: Path) -> None:
    """A container often has a bus and no systemd."""

    class Empty(Peer):
        def _reply(self, connection: socket.socket, call: Message) -> None:
            answer = usual(call)[0]
            if call.header.fields[HeaderFields.member] == "GetNameOwner":
                answer = of(DRIVER, new_error(call, "x.NameHasNoOwner", "s", ("no owner",)))
            connection.sendall(answer.serialise(serial=5))

    before = descriptors()
    refused = pytest.raises(NeedsOperator, match=r"org.freedesktop.systemd1 is not on the D-Bus")
    with Empty(tmp_path, usual) as peer, refused, connect(peer.address, within()):
        pass
    assert not descriptors() - before


@pytest.mark.parametrize("content", [(), (1,), ("a", "b"), (None,), (("a",),)])
def test_an_answer_of_another_kind_is_refused(content: tuple[object, ...]) -> None:
    """Not taken for text, and shown in one line."""
    with pytest.raises(InvalidInput, match="is not one str"):
        only(str, content)
    assert only(str, ("text",)) == "text"


def test_a_path_that_is_none_is_not_asked(tmp_path: Path) -> None:
    """What one answer says is not put into the next call unseen."""
    refused = pytest.raises(InvalidInput, match="cannot be asked over D-Bus")

    def answers(call: Message) -> list[Message]:
        return [of(OWNER, new_method_return(call, "s", ("no/path",)))]

    with talking(tmp_path, answers) as bus, refused:
        Systemd(bus).state("web.service")


def test_the_bus_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every other client of it; else at its usual place."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/elsewhere")
    assert system_bus() == "unix:path=/elsewhere"
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS")
    assert system_bus() == "unix:path=/run/dbus/system_bus_socket"
