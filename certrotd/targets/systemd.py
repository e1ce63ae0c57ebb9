"""Target ``systemd``: a unit that systemctl reloads or restarts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import SystemdEntry
from certrotd.errors import NeedsOperator
from certrotd.targets.nginx import prove_configuration
from certrotd.targets.units import LOADED, UnitState, look, permits, program, tell


@dataclass(frozen=True)
class SystemdTarget:
    """A ``unit`` and the ``verb`` by which it reads new files, as after systemctl.

    ``timeout`` is in seconds for a check, and for a job from its beginning to its end.
    """

    unit: str
    verb: str = "reload"
    timeout: float = 120.0
    clock: Clock = field(default_factory=SystemClock, repr=False)
    user: int = field(default_factory=os.geteuid)

    def precheck(self) -> None:
        """As Precheck.precheck: the unit is there, and can be told; it need not run yet."""
        deadline = self._deadline()
        state = look(self.unit, deadline)
        self._fit(state, unloaded(state), deadline)

    def check(self) -> None:
        """As Target.check: the unit is loaded, runs, and can do what it will be asked for.

        Of nginx, its configuration is valid, too, as far as this user may read it.
        """
        deadline = self._deadline()
        state = look(self.unit, deadline)
        self._fit(state, unfit(state, self.verb), deadline)
        argv = program(self.unit, deadline) if self.unit.endswith(".service") else ()
        if argv and os.path.basename(argv[0]) == "nginx":
            prove_configuration(argv, self._deadline())

    def apply(self) -> None:
        """As Target.apply: the job is done, and the unit runs (or was left alone, with try-).

        A unit that the new files broke is started again by restart, once the old ones are back.
        """
        deadline = self._deadline()
        ran_before = look(self.unit, deadline).runs
        tell(self.verb, self.unit, deadline)
        state = look(self.unit, deadline)
        # a start that a condition of the unit forbids is a job that was done, to systemctl
        if not in_order(state, self.verb) or (ran_before and not state.runs):
            raise NeedsOperator(
                f"{self.verb} of {self.unit} is done, but the unit is {state}",
                hint=f"journalctl -u {self.unit} shows why",
            )

    def _deadline(self) -> Deadline:
        return Deadline(self.clock, self.timeout)

    def _fit(self, state: UnitState, reason: tuple[str, str] | None, deadline: Deadline) -> None:
        if reason := reason or self._incapable(state):
            raise NeedsOperator(f"{self.unit} {reason[0]}", hint=reason[1])
        if self.user != 0:
            permits(self.verb, self.unit, deadline)

    def _incapable(self, state: UnitState) -> tuple[str, str] | None:
        if "reload" in self.verb and "CanReload" in state.can:
            return None
        if self.verb == "reload":
            return "cannot be reloaded: it has no ExecReload", "verb: restart, or add one"
        if {"CanStart", "CanStop"} <= state.can:
            return None
        return "cannot be restarted", "it sets RefuseManualStart or RefuseManualStop: remove that"


def unloaded(state: UnitState) -> tuple[str, str] | None:
    """Why there is no such unit, and a hint; None if there is."""
    if state.load == "loaded":
        return None
    return LOADED.get(state.load, (f"is not loaded but {state.load}", ""))


def unfit(state: UnitState, verb: str) -> tuple[str, str] | None:
    """Why a unit in this state could not be told by ``verb``, and a hint; None if it could."""
    if reason := unloaded(state):
        return reason
    if not in_order(state, verb):
        return f"is not running but {state}", "start it; systemctl status shows why it is not"
    return None


def in_order(state: UnitState, verb: str) -> bool:
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
