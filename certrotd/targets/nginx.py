"""Target ``nginx``: tested with ``nginx -t``, reloaded by signal, by systemctl or by a command."""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass, field
from pathlib import Path

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import NginxEntry, Reload
from certrotd.errors import NeedsOperator
from certrotd.process import environment, require, run, succeed
from certrotd.targets.pid import ASK, WantedProcess, signal_pid_file
from certrotd.targets.units import LOADED, look

LARGEST = 16 * 1024 * 1024
"""So many octets of a configuration are looked through."""
_DENIED = tuple(f"({number}: " for number in (errno.EACCES, errno.EPERM, errno.EROFS))
"""How nginx says the error in the line that tells why it stopped."""


@dataclass(frozen=True)
class NginxTarget:
    """An nginx on this host.

    ``reload`` is "signal" (SIGHUP to the master in ``pid_file``), "systemctl" (of ``unit``), or an
    argv. ``timeout`` is in seconds for each program run.
    """

    binary: str = "nginx"
    config: str | None = None
    prefix: str | None = None
    reload: Reload = "signal"
    pid_file: Path = Path("/run/nginx.pid")
    unit: str = "nginx.service"
    timeout: float = 30.0
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def precheck(self) -> None:
        """As Precheck.precheck: the programs exist."""
        require(self.binary, what="the program")
        if self.reload != "signal":
            require(self._reload_command()[0], what="the program")
        if self.reload == "systemctl":
            self._look_for_unit()

    def check(self) -> None:
        """As Target.check: the configuration is valid and there is an nginx to reload."""
        self.precheck()
        self._test()
        if self.reload == "signal":
            self._signal(ASK)

    def apply(self) -> None:
        """As Target.apply.

        ``nginx -t`` reads the swapped files before any worker does: a configuration that was
        broken since the check is found while the old certificate is still being served. That the
        reload worked is for the probe to say, since nginx reports only that it was asked.
        """
        self._test()
        if self.reload == "signal":
            self._signal(signal.SIGHUP)
        else:
            self._run(self._reload_command())

    def reads(self, path: str) -> bool:
        """As Reading.reads, by what nginx itself shows of its configuration (``nginx -T``)."""
        argv, deadline = self._argv("-T", "-q"), Deadline(self.clock, self.timeout)
        shown = run(
            argv, what=" ".join(argv), deadline=deadline, variables=environment({}), most=LARGEST
        )
        if shown.status:
            raise NeedsOperator(f"{' '.join(argv)} {shown.how}{shown.tail}")
        return path.encode() in shown.output

    def _test(self) -> None:
        self._run(self._argv("-t", "-q"))

    def _argv(self, *options: str) -> tuple[str, ...]:
        argv = [self.binary, *options]
        if self.prefix:
            argv += ["-p", self.prefix]
        if self.config:
            argv += ["-c", self.config]
        return tuple(argv)

    def _look_for_unit(self) -> None:
        state = look(self.unit, Deadline(self.clock, self.timeout))
        if reason := LOADED.get(state.load):
            raise NeedsOperator(f"{self.unit} {reason[0]}", hint=reason[1])

    def _reload_command(self) -> tuple[str, ...]:
        if isinstance(self.reload, str):
            return ("systemctl", "reload", self.unit)
        return self.reload

    def _run(self, argv: tuple[str, ...]) -> None:
        _run(argv, Deadline(self.clock, self.timeout))

    def _signal(self, number: int) -> None:
        wanted = WantedProcess(("nginx", Path(self.binary).name))
        signal_pid_file(self.pid_file, number, wanted, clock=self.clock)


def prove_configuration(argv: tuple[str, ...], deadline: Deadline) -> None:
    """Whether nginx, started like this, has a valid configuration; raises NeedsOperator if not.

    Only root may read all that it names: what another user is not let do says nothing.
    """
    try:
        _run((*argv, "-t", "-q"), deadline)
    except NeedsOperator as failure:
        # other lines complain of the log it may not open, and do not stop it
        why = failure.message.rpartition("[emerg]")[2]
        if not any(denied in why for denied in _DENIED):
            raise


def _run(argv: tuple[str, ...], deadline: Deadline) -> None:
    succeed(argv, what=" ".join(argv), deadline=deadline, variables=environment({}))


def build(entry: NginxEntry, context: Context) -> NginxTarget:
    """The target of a configuration entry."""
    return NginxTarget(
        binary=entry.binary,
        config=None if entry.config is None else str(entry.config),
        prefix=None if entry.prefix is None else str(entry.prefix),
        reload=entry.reload,
        pid_file=entry.pid_file,
        unit=entry.unit,
        timeout=entry.timeout.total_seconds(),
        clock=context.clock,
    )
