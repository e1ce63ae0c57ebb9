"""Target ``signal``: a signal to the process of a pid file, or to a systemd unit's main process."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import SignalEntry
from certrotd.errors import NeedsOperator
from certrotd.targets.pid import ASK, Process, WantedProcess, signal_pid_file, signal_process
from certrotd.targets.units import LOADED, look

_PAUSE = 0.5  # seconds between two looks for a process that is to start


@dataclass(frozen=True)
class SignalTarget:
    """The process that ``where`` says: a pid file, or the main one of a systemd unit.

    ``process`` is the name it must have; None: any. ``timeout`` is in seconds for what systemd is
    asked, ``starts_within`` those that a check waits for the process to be there.
    """

    where: Path | str
    number: signal.Signals = signal.SIGHUP
    process: str | None = None
    timeout: float = 30.0
    starts_within: float = 0.0
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def precheck(self) -> None:
        """As Precheck.precheck: the unit is there; it need not run yet."""
        if isinstance(self.where, str):
            state = look(self.where, Deadline(self.clock, self.timeout))
            if reason := LOADED.get(state.load):
                raise NeedsOperator(f"{self.where} {reason[0]}", hint=reason[1])

    def check(self) -> None:
        """As Target.check: the process is there, is the right one, and may be signalled."""
        deadline = Deadline(self.clock, self.starts_within)
        while True:
            try:
                return self._signal(ASK)
            except NeedsOperator:
                if deadline.passed or self.clock.stopping():
                    raise
            deadline.pause(_PAUSE)

    def apply(self) -> None:
        """As Target.apply: that it heeds the signal is for the probe to say."""
        self._signal(self.number)

    def _signal(self, number: int) -> None:
        wanted = WantedProcess((self.process,) if self.process else ())
        if isinstance(self.where, Path):
            signal_pid_file(self.where, number, wanted, clock=self.clock)
        else:
            self._signal_unit(self.where, number, wanted)

    def _signal_unit(self, unit: str, number: int, wanted: WantedProcess) -> None:
        deadline = Deadline(self.clock, self.timeout)
        state = look(unit, deadline)
        if not state.main_pid:
            raise NeedsOperator(
                f"{unit} has no main process: it is {state.load}, {state}",
                hint="start it, or correct unit; a oneshot or forking service may have none",
            )

        def refusal(process: Process) -> tuple[str, str] | None:
            # asked again while the process is held: the number was not given away meanwhile
            if look(unit, deadline).main_pid != state.main_pid:
                return "is no longer its main process", "it restarts right now; try again"
            if not wanted.accepts(process):
                return f"is {process.comm}, not {wanted.kind}", "correct unit or process"
            return None

        pid = state.main_pid
        signal_process(pid, number, wanted, known_by=unit, refusal=refusal, clock=self.clock)


def build(entry: SignalEntry, context: Context) -> SignalTarget:
    """The target of a configuration entry."""
    where = entry.pid_file or entry.unit
    assert where is not None, "the schema asks for one of them"
    return SignalTarget(
        where=where,
        number=signal.Signals[f"SIG{entry.signal}"],
        process=entry.process,
        timeout=entry.timeout.total_seconds(),
        starts_within=entry.starts_within.total_seconds(),
        clock=context.clock,
    )
