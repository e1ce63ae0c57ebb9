"""A message bus of its own, and systemd's manager on it, played by the test."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

from tests.parts import locate
from tests.parts.process import Server

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/>
    <allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
    <allow receive_type="method_return"/><allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"""


class DBus(Server):
    """A dbus-daemon whose rules are those of a system bus, where everybody may own any name."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._daemon = locate.require("dbus-daemon")
        self._socket = directory / "bus"
        self._config = directory / "bus.conf"
        self._config.write_text(_CONFIG.format(socket=self._socket))

    @property
    def address(self) -> str:
        """What clients connect to."""
        return f"unix:path={self._socket}"

    def command(self) -> Sequence[str | Path]:
        return [self._daemon, f"--config-file={self._config}", "--nofork", "--nopidfile"]

    def is_ready(self) -> bool:
        with open_dbus_connection(self.address):
            return True


@dataclass
class Unit:
    """A unit of the played manager; ``job`` does what it is told by a method, and says the end."""

    load: str = "loaded"
    active: str = "active"
    sub: str = "running"
    can: dict[str, bool] = field(
        default_factory=lambda: {"CanReload": True, "CanStart": True, "CanStop": True}
    )
    main_pid: int = 0
    argv: list[str] = field(default_factory=list)
    job: Callable[[str], str | None] = lambda _method: "done"
    told: list[str] = field(default_factory=list)


class Manager:
    """systemd's manager for what a real one cannot be made to do, on a real bus.

    ``errors`` are answers by method: D-Bus' name and a text. ``answers`` replace a method's body
    by (signature, body). A unit whose job ends as None never ends. Signals are only sent once
    somebody has subscribed, as systemd does it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.units: dict[str, Unit] = {}
        self.errors: dict[str, tuple[str, str]] = {}
        self.answers: dict[str, tuple[str, tuple[Any, ...]]] = {}
        self.early = False  # the end of a job is told before the job itself
        self.modes: list[str] = []
        self._subscribed = False
        self._jobs = 0
        self._bus = open_dbus_connection(address)
        self._bus.send_and_get_reply(message_bus.RequestName(NAME))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._bus.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                message = self._bus.receive(timeout=0.02)
                if message.header.message_type is MessageType.method_call:
                    for answer in self._answers(message):
                        self._bus.send(answer)

    def _answers(self, call: Message) -> Iterator[Message]:
        member = call.header.fields[HeaderFields.member]
        if member in self.errors:
            name, text = self.errors[member]
            yield new_error(call, name, "s", (text,))
        elif member in self.answers:
            yield new_method_return(call, *self.answers[member])
        elif member == "Subscribe":
            self._subscribed = True
            yield new_method_return(call)
        elif member == "LoadUnit":
            yield new_method_return(call, "o", (f"{PATH}/unit/{_escaped(call.body[0])}",))
        elif member == "Get":
            yield new_method_return(call, "v", (self._property(call),))
        elif member.endswith("Unit"):
            yield from self._job(call, member)

    def _property(self, call: Message) -> tuple[str, Any]:
        path = call.header.fields[HeaderFields.path]
        named = [unit for name, unit in self.units.items() if path.endswith(f"/{_escaped(name)}")]
        unit = named[0] if named else Unit(load="not-found", active="inactive", sub="dead")
        name = call.body[1]
        values = {
            "LoadState": ("s", unit.load),
            "ActiveState": ("s", unit.active),
            "SubState": ("s", unit.sub),
            "MainPID": ("u", unit.main_pid),
            "ExecStart": ("a(sasb)", [(unit.argv[0], unit.argv, False)] if unit.argv else []),
        }
        return values[name] if name in values else ("b", unit.can[name])

    def _job(self, call: Message, member: str) -> Iterator[Message]:
        name, mode = call.body
        if mode == "isolate":  # as systemd does, behind the question whether the caller may
            words = "Isolate is only valid for start."
            yield new_error(call, "org.freedesktop.DBus.Error.InvalidArgs", "s", (words,))
            return
        self._jobs += 1
        self.modes.append(mode)
        unit = self.units[name]
        unit.told.append(member)
        mine = f"{PATH}/job/{self._jobs}"
        removed = [self.removed(f"{PATH}/job/9{self._jobs}", "other.service", "canceled")]
        if (result := unit.job(member)) is not None:
            removed.append(self.removed(mine, name, result))
        if not self._subscribed:
            removed = []
        answer = new_method_return(call, "o", (mine,))
        yield from [*removed, answer] if self.early else [answer, *removed]

    def removed(self, job: str, unit: str, result: str) -> Message:
        """The signal that a job has ended."""
        emitter = DBusAddress(PATH, interface=f"{NAME}.Manager")
        number = int(job.rpartition("/")[2])
        return new_signal(emitter, "JobRemoved", "uoss", (number, job, unit, result))


def _escaped(name: str) -> str:
    """A unit's name in an object path."""
    return "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)
