"""Target ``systemd``: a unit that systemd reloads or restarts, asked over D-Bus."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import SystemdEntry
from certrotd.errors import NeedsOperator, Transient
from certrotd.targets.nginx import prove_configuration
from certrotd.targets.units import LOADED, State, Systemd, connect, system_bus

_ENDED = {
    "canceled": "was cancelled, by somebody or by another job of the unit",
    "timeout": "did not end within the unit's own time",
    "failed": "failed",
    "dependency": "was not begun: a unit that this one needs failed",
    "skipped": "was skipped: it does not apply to the unit as it is",
    "invalid": "does not apply to the unit as it is",
    "assert": "was not begun: an Assert of the unit does not hold",
    "unsupported": "is nothing that units of this type support",
    "collected": "was dropped: nothing needed it any more",
    "once": "was not begun: the unit may only be started once",
}
"""How a job ends that is not done (the manager's JobRemoved, org.freedesktop.systemd1(5))."""

_PASSING = ("canceled", "timeout")


@dataclass(frozen=True)
class SystemdTarget:
    """A ``unit`` and the ``verb`` it is told of new files by, as after systemctl.

    ``timeout`` is in seconds for a check, and for a job from its beginning to its end; ``bus`` is
    a D-Bus address.
    """

    unit: str
    verb: str = "reload"
    timeout: float = 120.0
    bus: str = field(default_factory=system_bus)
    clock: Clock = field(default_factory=SystemClock, repr=False)
    user: int = field(default_factory=os.geteuid)

    def precheck(self) -> None:
        """As Precheck.precheck: the unit is there, and can be told; it need not run yet."""
        with self._systemd() as systemd:
            self._fit(systemd, unloaded(systemd.state(self.unit)))

    def check(self) -> None:
        """As Target.check: the unit is loaded, runs, and can do what it will be asked for.

        Of nginx, its configuration is valid, too, as far as this user may read it.
        """
        with self._systemd() as systemd:
            self._fit(systemd, unfit(systemd.state(self.unit), self.verb))
            argv = systemd.program(self.unit) if self.unit.endswith(".service") else ()
        if argv and os.path.basename(argv[0]) == "nginx":
            prove_configuration(argv, Deadline(self.clock, self.timeout))

    def apply(self) -> None:
        """As Target.apply: the job is done, and the unit runs (or was left alone, with try-).

        A unit that the new files broke is started again by restart, once the old ones are back.
        """
        with connect(self.bus, Deadline(self.clock, self.timeout)) as systemd:
            result = systemd.run(self.verb, self.unit)
            state = systemd.state(self.unit)
        shown = f"journalctl -u {self.unit} shows why"
        if result != "done":
            kind = Transient if result in _PASSING else NeedsOperator
            how = _ENDED.get(result, f"ended as {result}")
            raise kind(f"{self.verb} of {self.unit} {how}; it is {state} now", hint=shown)
        if not in_order(state, self.verb):
            raise NeedsOperator(
                f"{self.verb} of {self.unit} is done, but the unit is {state}", hint=shown
            )

    def _systemd(self) -> AbstractContextManager[Systemd]:
        return connect(self.bus, Deadline(self.clock, self.timeout))

    def _fit(self, systemd: Systemd, reason: tuple[str, str] | None) -> None:
        if reason := reason or self._incapable(systemd):
            raise NeedsOperator(f"{self.unit} {reason[0]}", hint=reason[1])
        if self.user != 0:
            systemd.permits(self.verb, self.unit)

    def _incapable(self, systemd: Systemd) -> tuple[str, str] | None:
        if "reload" in self.verb and systemd.can(self.unit, "CanReload"):
            return None
        if self.verb == "reload":
            return "cannot be reloaded: it has no ExecReload", "verb: restart, or add one"
        if systemd.can(self.unit, "CanStart") and systemd.can(self.unit, "CanStop"):
            return None
        return "cannot be restarted", "it sets RefuseManualStart or RefuseManualStop: remove that"


def unloaded(state: State) -> tuple[str, str] | None:
    """Why there is no such unit, and a hint; None if there is."""
    if state.load == "loaded":
        return None
    return LOADED.get(state.load, (f"is not loaded but {state.load}", ""))


def unfit(state: State, verb: str) -> tuple[str, str] | None:
    """Why a unit in this state could not be told by ``verb``, and a hint; None if it could."""
    if reason := unloaded(state):
        return reason
    if not in_order(state, verb):
        return f"is not running but {state}", "start it; systemctl status shows why it is not"
    return None


def in_order(state: State, verb: str) -> bool:
    """Whether a unit is in a state to be in before and after ``verb``."""
    return state.runs or (verb.startswith("try-") and state.active == "inactive")


def build(entry: SystemdEntry, context: Context) -> SystemdTarget:
    """The target of a configuration entry."""
    return SystemdTarget(
        unit=entry.unit,
        verb=entry.verb,
        timeout=entry.timeout.total_seconds(),
        clock=context.clock,
    )
