"""One service on D-Bus: calls and signals, bounded in time and in size (D-Bus specification).

Needs the extra ``systemd`` (jeepney), so nothing imports this module before it is used.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from types import TracebackType
from typing import Any, Self

from jeepney import DBusAddress, HeaderFields, Message, MessageType, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator
from jeepney.bus import get_connectable_addresses
from jeepney.low_level import calc_msg_size

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.targets.answers import ErrorReply, Late, only

MAX_MESSAGE = 64 * 1024
"""Octets; what systemd says of a job or a property is some hundreds."""

MAX_WAITING = 1000
"""Signals kept that came while an answer was awaited; the oldest are dropped."""

_DRIVER = "org.freedesktop.DBus"
_LINE = 1024
_NO_TYPE = b"()"  # no type of D-Bus; jeepney would read an array of these without end
_FIXED = 16  # octets of a header that say how long the message is
_ANSWERS = (MessageType.method_return, MessageType.error)
_UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    OverflowError,
    RecursionError,
    struct.error,
)
"""What jeepney raises of messages that are none."""


class Bus:
    """A connection to the bus at ``address``, on which ``service`` is talked to.

    Everything until its end is within ``deadline``. Raises NeedsOperator where there is no such bus
    or service or it lets nobody in, Transient at the deadline or when the connection breaks, and
    InvalidInput for what is no D-Bus.
    """

    def __init__(self, address: str, service: str, deadline: Deadline) -> None:
        self._deadline = deadline
        self._service = service
        self._owner = ""
        self._serial = 0
        self._waiting: deque[Message] = deque(maxlen=MAX_WAITING)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(address)
            self._ask_driver("Hello")
            # by its unique name: whoever else is on the bus could send signals and call them its
            self._owner = only(str, self._ask_driver("GetNameOwner", "s", (service,)))
        except ErrorReply as error:
            self.close()
            raise NeedsOperator(
                f"{service} is not on the D-Bus at {address}: {error.message}",
                hint="does systemd run here?",
            ) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, and of what was asked to be sent over it."""
        self._socket.close()

    def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
    ) -> tuple[Any, ...]:
        """Call a method of the service and give back its answer; raises ErrorReply too."""
        return self._call(self._owner, path, interface, member, signature, body)

    def watch(self, path: str, interface: str, member: str) -> None:
        """Have signals of the service that are so called sent here from now on."""
        rule = {
            "type": "signal",
            "sender": self._owner,
            "path": path,
            "interface": interface,
            "member": member,
        }
        text = ",".join(f"{key}='{value}'" for key, value in rule.items())
        self._ask_driver("AddMatch", "s", (text,))

    def signal(self, member: str) -> tuple[Any, ...]:
        """Wait for the next signal so called, and give back what it says."""
        while True:
            message = self._waiting.popleft() if self._waiting else self._receive()
            if self._is_signal(message) and _field(message, HeaderFields.member) == member:
                return tuple(message.body)

    def _ask_driver(
        self, member: str, signature: str = "", body: tuple[Any, ...] = ()
    ) -> tuple[Any, ...]:
        return self._call(_DRIVER, "/org/freedesktop/DBus", _DRIVER, member, signature, body)

    def _call(
        self,
        peer: str,
        path: str,
        interface: str,
        member: str,
        signature: str,
        body: tuple[Any, ...],
    ) -> tuple[Any, ...]:
        self._serial += 1
        try:
            called = DBusAddress(path, bus_name=peer, interface=interface)
            message = new_method_call(called, member, signature or None, body)
            data = message.serialise(serial=self._serial)
        except (TypeError, ValueError) as error:  # of what an earlier answer said
            raise InvalidInput(f"{member} cannot be asked over D-Bus: {error}") from None
        self._send(data)
        while True:
            answer = self._receive()
            if self._is_signal(answer):
                self._waiting.append(answer)
            elif self._answers(answer, peer):
                break
        content = tuple(answer.body)
        if answer.header.message_type is MessageType.error:
            text = content[0] if content and isinstance(content[0], str) else ""
            raise ErrorReply(str(_field(answer, HeaderFields.error_name)), text)
        return content

    def _answers(self, message: Message, peer: str) -> bool:
        return (
            message.header.message_type in _ANSWERS
            and _field(message, HeaderFields.reply_serial) == self._serial
            # the driver answers for whoever has gone, or may not be asked
            and _field(message, HeaderFields.sender) in (peer, _DRIVER)
        )

    def _is_signal(self, message: Message) -> bool:
        mine = _field(message, HeaderFields.sender) == self._owner
        return mine and message.header.message_type is MessageType.signal

    def _connect(self, address: str) -> None:
        try:
            path = next(get_connectable_addresses(address))
            self._within()
            self._socket.connect(path)
        except BlockingIOError:  # so many others wait there that this one may not
            raise self._late() from None
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise NeedsOperator(
                f"cannot reach D-Bus at {address}: {reason or error}",
                hint="DBUS_SYSTEM_BUS_ADDRESS is another one where it is not at its usual place",
            ) from None
        dialogue = Authenticator()
        try:
            for line in dialogue:
                self._send(line)
                dialogue.feed(self._read(_LINE))
        except AuthenticationError as error:
            raise NeedsOperator(f"D-Bus at {address} does not let us in: {error}") from None
        self._send(BEGIN)

    def _receive(self) -> Message:
        raw = self._exactly(_FIXED)
        try:
            size = calc_msg_size(raw)
            if size > MAX_MESSAGE:
                raise InvalidInput(
                    f"D-Bus sent a message of {size} octets, more than {MAX_MESSAGE}"
                )
            raw += self._exactly(size - _FIXED)
            if _NO_TYPE in raw:
                raise ValueError("an empty structure")
            return Message.from_buffer(raw)
        except _UNREADABLE as error:
            raise InvalidInput(
                f"what answers for {self._service} does not speak D-Bus: {error or 'garbage'}"
            ) from None

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self._read(count - len(data))
        return data

    def _read(self, count: int) -> bytes:
        self._within()
        try:
            data = self._socket.recv(count)
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise self._broken(error.strerror) from None
        if not data:
            raise self._broken("it was closed")
        return data

    def _send(self, data: bytes) -> None:
        self._within()
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise self._broken(error.strerror) from None

    def _within(self) -> None:
        if self._deadline.passed:  # no timeout at all would be what the socket takes 0 for
            raise self._late()
        self._socket.settimeout(self._deadline.remaining)

    def _late(self) -> Late:
        return Late(f"{self._service} did not answer on D-Bus in time")

    def _broken(self, reason: str | None) -> Transient:
        return Transient(f"the D-Bus connection to {self._service} broke: {reason}")


def _field(message: Message, which: HeaderFields) -> object:
    return message.header.fields.get(which)
