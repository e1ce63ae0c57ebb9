"""Target ``systemd``: a unit that systemd reloads or restarts, asked over D-Bus."""

from __future__ import annotations

from dataclasses import dataclass, field

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import SystemdEntry
from certrotd.errors import NeedsOperator, Transient
from certrotd.targets.units import State, Systemd, connect, system_bus

_LOADED = {
    "not-found": ("does not exist", "correct the name, or install the service"),
    "masked": ("is masked", "systemctl unmask it"),
    "bad-setting": ("has a wrong setting", "systemd-analyze verify shows it"),
    "error": ("could not be loaded", "systemd-analyze verify shows why"),
}
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

    def check(self) -> None:
        """As Target.check: the unit is loaded, runs, and can do what it will be asked for.

        Whether polkit lets certrotd ask is not known before it does.
        """
        with connect(self.bus, Deadline(self.clock, self.timeout)) as systemd:
            state = systemd.state(self.unit)
            if reason := unfit(state, self.verb) or self._incapable(systemd):
                raise NeedsOperator(f"{self.unit} {reason[0]}", hint=reason[1])

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

    def _incapable(self, systemd: Systemd) -> tuple[str, str] | None:
        if "reload" in self.verb and systemd.can(self.unit, "CanReload"):
            return None
        if self.verb == "reload":
            return "cannot be reloaded: it has no ExecReload", "verb: restart, or add one"
        if systemd.can(self.unit, "CanStart") and systemd.can(self.unit, "CanStop"):
            return None
        return "cannot be restarted", "it sets RefuseManualStart or RefuseManualStop: remove that"


def unfit(state: State, verb: str) -> tuple[str, str] | None:
    """Why a unit in this state could not be told by ``verb``, and a hint; None if it could."""
    if state.load != "loaded":
        return _LOADED.get(state.load, (f"is not loaded but {state.load}", ""))
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
