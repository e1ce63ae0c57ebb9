"""An application that is stopped and started as a whole, and shows that it reads its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from certrotd.clock import Clock, Deadline
from certrotd.config.connect import Connect, unconnected
from certrotd.config.cutover import CutoverEntry, ReadProbeEntry
from certrotd.config.environment import reveal
from certrotd.config.secrets import Environment
from certrotd.consumers.http import asked
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.process import environment, require, run, succeed
from certrotd.targets.systemd import unloaded
from certrotd.targets.units import look, permits, tell


class Switched(Protocol):
    """A way to stop and start an application; each as Application has it."""

    def check(self) -> None: ...

    def stop(self) -> None: ...

    def start(self) -> None: ...

    def stopped(self) -> bool | None: ...


@dataclass(frozen=True)
class Units:
    """Switched, by systemctl: the ``units`` are stopped in this order, each in ``timeout`` s."""

    units: Sequence[str]
    timeout: float
    clock: Clock

    def check(self) -> None:
        """As Application.check."""
        for unit in self.units:
            deadline = Deadline(self.clock, self.timeout)
            state = look(unit, deadline)
            if reason := unloaded(state):
                raise NeedsOperator(f"{unit} {reason[0]}", hint=reason[1])
            if not state.runs or not {"CanStart", "CanStop"} <= state.can:
                why = "cannot be stopped and started" if state.runs else f"does not run: {state}"
                raise NeedsOperator(f"{unit} {why}", hint=f"systemctl status {unit}")
            permits("stop", unit, deadline)

    def stop(self) -> None:
        """As Application.stop."""
        for unit in self.units:
            tell("stop", unit, Deadline(self.clock, self.timeout))

    def start(self) -> None:
        """As Application.start; a job that was done does not show that the unit runs."""
        for unit in reversed(self.units):
            deadline = Deadline(self.clock, self.timeout)
            tell("start", unit, deadline)
            state = look(unit, deadline)
            if not state.runs:
                raise NeedsOperator(f"{unit} is {state} after its start")

    def stopped(self) -> bool:
        """As Application.stopped."""
        return all(
            look(unit, Deadline(self.clock, self.timeout)).active in ("inactive", "failed")
            for unit in self.units
        )


@dataclass(frozen=True)
class Commands:
    """Switched, by programs of the operator's, each in ``timeout`` seconds.

    The secrets of ``environment`` are read when one is run.
    """

    to_stop: Sequence[str]
    to_start: Sequence[str]
    tells: Sequence[str] | None
    timeout: float
    clock: Clock
    environment: Environment = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """As Application.check: as far as it can be told without stopping it."""
        for argv in (self.to_stop, self.to_start, self.tells):
            if argv:
                require(argv[0], what="the program", path=self._variables["PATH"])
        if self.stopped():
            raise NeedsOperator("the application is stopped already", hint="start it")

    def stop(self) -> None:
        """As Application.stop."""
        self._succeed(self.to_stop)

    def start(self) -> None:
        """As Application.start."""
        self._succeed(self.to_start)

    def stopped(self) -> bool | None:
        """As Application.stopped."""
        if self.tells is None:
            return None
        deadline = Deadline(self.clock, self.timeout)
        ran = run(self.tells, what=self.tells[0], deadline=deadline, variables=self._variables)
        if ran.status is None:
            raise Transient(f"{self.tells[0]} {ran.how}")
        return ran.status == 0

    def _succeed(self, argv: Sequence[str]) -> None:
        deadline = Deadline(self.clock, self.timeout)
        succeed(argv, what=argv[0], deadline=deadline, variables=self._variables)

    @property
    def _variables(self) -> Mapping[str, str]:
        return environment(reveal(self.environment))


@dataclass(frozen=True)
class HttpReading:
    """Reads, by an answer with the status 200 within ``timeout`` s that has ``contains`` in it."""

    url: str
    contains: str | None
    roots: Path | None
    timeout: float
    clock: Clock

    def reads(self) -> str | None:
        """As Application.reads."""
        try:
            answer = asked(self.url, self.roots, self.timeout, self.clock, accept="*/*")
        except (Transient, NeedsOperator) as error:
            return error.message
        if answer.status != 200:
            return f"{self.url} answers with the status {answer.status}"
        if self.contains is not None and self.contains.encode() not in answer.content:
            return f"the answer of {self.url} does not contain {self.contains!r}"
        return None


@dataclass(frozen=True)
class CommandReading:
    """Reads, by a program that exits with 0 within ``timeout`` seconds."""

    argv: Sequence[str]
    timeout: float
    clock: Clock

    def reads(self) -> str | None:
        """As Application.reads."""
        deadline = Deadline(self.clock, self.timeout)
        try:
            ran = run(self.argv, what=self.argv[0], deadline=deadline, variables=environment({}))
        except Failure as failure:
            return failure.message
        return None if ran.status == 0 else f"{self.argv[0]} {ran.how}{ran.tail}"


@dataclass(frozen=True)
class SwitchedApplication:
    """Application, of a way to stop and start it, and of a way to see that it reads."""

    switched: Switched
    reading: HttpReading | CommandReading
    within: float
    """How many seconds after a start it may take until it reads."""

    def check(self) -> None:
        """Whether it runs and can be stopped; raises Failure."""
        self.switched.check()

    def stop(self) -> None:
        """Have it stop, or nothing if it is; raises Failure."""
        self.switched.stop()

    def start(self) -> None:
        """Have it run, or nothing if it does; raises Failure."""
        self.switched.start()

    def stopped(self) -> bool | None:
        """Whether it is stopped, None if nobody can tell; raises Failure."""
        return self.switched.stopped()

    def reads(self) -> str | None:
        """None if it reads what is stored; else why that is not shown, in words."""
        return self.reading.reads()


def build(entry: CutoverEntry, clock: Clock, connect: Connect = unconnected) -> SwitchedApplication:
    """The application of a configuration entry; nothing is connected to."""
    switched, within = _switched(entry, clock, connect), entry.probe.within.total_seconds()
    return SwitchedApplication(switched, _reading(entry.probe, clock), within)


def _switched(entry: CutoverEntry, clock: Clock, connect: Connect) -> Switched:
    timeout = entry.timeout.total_seconds()
    if (scale := entry.scale) is not None:
        from certrotd.kube.scaling import ScaledWorkloads
        from certrotd.kube.workloads import Reference

        references = tuple(Reference(*each.split("/")) for each in scale.workloads)
        reach = partial(connect, scale.kubeconfig, scale.context)
        return ScaledWorkloads(reach, scale.namespace, references, timeout)
    if (containers := entry.containers) is not None:
        from certrotd.containers.engine import DockerEngine, tls_of
        from certrotd.containers.switching import SwitchedContainers

        engine = DockerEngine(containers.host, tls_of(containers.tls), timeout=timeout)
        return SwitchedContainers(engine, containers.names, timeout, clock)
    if entry.stop is None or entry.start is None:
        return Units(entry.units, timeout, clock)
    return Commands(entry.stop, entry.start, entry.stopped, timeout, clock, entry.environment)


def _reading(entry: ReadProbeEntry, clock: Clock) -> HttpReading | CommandReading:
    timeout = entry.timeout.total_seconds()
    if entry.http is not None:
        return HttpReading(entry.http, entry.contains, entry.roots, timeout, clock)
    assert entry.command is not None, "it has one of the two"
    return CommandReading(entry.command, timeout, clock)
