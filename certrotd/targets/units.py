"""systemd's manager over D-Bus: what state a unit is in, and jobs on it (org.freedesktop.systemd1).

Needs jeepney, of the extra ``systemd``, which is loaded with the first connection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator, Transient
from certrotd.extras import how_to_install
from certrotd.targets.answers import ErrorReply, Late, only

if TYPE_CHECKING:
    from certrotd.targets.bus import Bus

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
LOADED = {
    "not-found": ("does not exist", "correct the name, or install the service"),
    "masked": ("is masked", "systemctl unmask it"),
    "bad-setting": ("has a wrong setting", "systemd-analyze verify shows it"),
    "error": ("could not be loaded", "systemd-analyze verify shows why"),
}
"""What keeps a unit from being one, by its LoadState, and a hint."""

METHODS = {
    "reload": "ReloadUnit",
    "restart": "RestartUnit",
    "reload-or-restart": "ReloadOrRestartUnit",
    "try-restart": "TryRestartUnit",
    "try-reload-or-restart": "ReloadOrTryRestartUnit",
}
"""systemctl's verbs, and what the manager calls them."""

_SERVICE = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_NOT_ALLOWED = (
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.AuthFailed",
)
_PASSING = (
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Timeout",
    "org.freedesktop.DBus.Error.LimitsExceeded",
    "org.freedesktop.systemd1.TransactionIsDestructive",
    "org.freedesktop.systemd1.ShuttingDown",
)
T = TypeVar("T")


def system_bus() -> str:
    """The address of the system bus."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS


@contextmanager
def connect(address: str, deadline: Deadline) -> Iterator[Systemd]:
    """The manager on the bus at ``address``, for as long as ``deadline`` is not passed.

    Raises NeedsOperator where there is none, or no library to reach it with; all that is done
    with it raises Transient at the deadline.
    """
    try:
        from certrotd.targets.bus import Bus
    except ModuleNotFoundError as error:
        raise NeedsOperator(
            f"systemd cannot be reached over D-Bus: there is no Python module {error.name}",
            hint=how_to_install("systemd"),
        ) from None
    with Bus(address, _SERVICE, deadline) as bus:
        yield Systemd(bus)


@dataclass(frozen=True)
class State:
    """A unit's LoadState, ActiveState and SubState, in systemd's words."""

    load: str
    active: str
    sub: str

    def __str__(self) -> str:
        return f"{self.active} ({self.sub})"

    @property
    def runs(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self.active in ("active", "reloading", "refreshing")


class Systemd:
    """The manager at the other end of ``bus``; what it refuses is raised in words."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def state(self, unit: str) -> State:
        """The states of a unit; the load state of one that does not exist is ``not-found``."""
        names = ("LoadState", "ActiveState", "SubState")
        return State(*(self._property(unit, "Unit", name, str) for name in names))

    def can(self, unit: str, what: str) -> bool:
        """A capability of a unit: CanReload, CanStart or CanStop."""
        return self._property(unit, "Unit", what, bool)

    def main_pid(self, unit: str) -> int:
        """The main process of a service; 0 while there is none."""
        return self._property(unit, "Service", "MainPID", int)

    def program(self, unit: str) -> tuple[str, ...]:
        """The argv that a service is started with; empty if it has none."""
        commands = self._property(unit, "Service", "ExecStart", list)
        if not commands:
            return ()
        match commands[0]:
            case (str(), [*argv], *_) if all(isinstance(word, str) for word in argv):
                return tuple(argv)
        raise InvalidInput(f"systemd describes what starts {unit} in a way certrotd does not know")

    def permits(self, verb: str, unit: str) -> None:
        """Whether systemd, or polkit for it, would let us; NeedsOperator if not.

        polkit tells nobody but root about single units. So the act itself is asked for, in a way
        that systemd refuses once the permission is given: to isolate is for starting alone.
        """
        with _in_words(f"{verb} {unit}"):
            try:
                self._manager(METHODS[verb], "ss", (unit, "isolate"))
            except ErrorReply as error:
                if error.name in _NOT_ALLOWED:
                    raise

    def run(self, verb: str, unit: str) -> str:
        """Have systemd do it, wait for the end of that very job, and give back its result.

        ``verb`` is one of METHODS. The result is one of systemd's, ``done`` where all went well.
        """
        with _in_words(f"{verb} {unit}"):
            # before the job is made: it may be over before anybody could look
            self._bus.watch(_PATH, f"{_SERVICE}.Manager", "JobRemoved")
            self._manager("Subscribe")
            # as systemctl does: a job of the unit that is in the way is replaced
            job = only(str, self._manager(METHODS[verb], "ss", (unit, "replace")))
            try:
                return self._result(job)
            except Late:
                raise Transient(
                    f"{verb} of {unit} did not end in time", hint="systemctl list-jobs shows it"
                ) from None

    def _result(self, job: str) -> str:
        while True:
            match self._bus.signal("JobRemoved"):
                case (int(), str(ended), str(), str(result)) if ended == job:
                    return result

    def _property(self, unit: str, interface: str, name: str, kind: type[T]) -> T:
        with _in_words(f"tell the {name} of {unit}"):
            path = only(str, self._manager("LoadUnit", "s", (unit,)))
            asked = (f"{_SERVICE}.{interface}", name)
            answer = self._bus.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", asked)
            # a variant is its type and its value
            return only(kind, only(tuple, answer)[1:])

    def _manager(
        self, member: str, signature: str = "", body: tuple[str, ...] = ()
    ) -> tuple[object, ...]:
        return self._bus.call(_PATH, f"{_SERVICE}.Manager", member, signature, body)


@contextmanager
def _in_words(act: str) -> Iterator[None]:
    """Turn an error reply into who can do something about it."""
    try:
        yield
    except ErrorReply as error:
        if error.name in _NOT_ALLOWED:
            raise NeedsOperator(
                f"systemd does not let user {os.geteuid()} {act}: {error.message}",
                hint="install polkitd, and allow this verb on this unit by the polkit rule in "
                "deploy/systemd",
            ) from None
        kind = Transient if error.name in _PASSING else NeedsOperator
        raise kind(f"systemd refuses to {act}: {error.message}") from None
