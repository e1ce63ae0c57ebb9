"""Target ``nginx``: tested with ``nginx -t``, reloaded by signal, by systemctl or by a command."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from certrotd.clock import Clock, Deadline, SystemClock
from certrotd.config.context import Context
from certrotd.config.targets import NginxEntry
from certrotd.errors import NeedsOperator
from certrotd.rotation.files import read_file
from certrotd.targets.process import require, run

Reload = Literal["signal", "systemctl"] | tuple[str, ...]
_PID_BYTES = 64
_COMM = 15


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

    def check(self) -> None:
        """As Target.check: the configuration is valid and there is an nginx to reload."""
        require(self.binary)
        self._test()
        if self.reload == "signal":
            self._master()
        else:
            require(self._reload_command()[0])

    def apply(self) -> None:
        """As Target.apply.

        ``nginx -t`` reads the swapped files before any worker does: a configuration that was
        broken since the check is found while the old certificate is still being served. That the
        reload worked is for the probe to say, since nginx reports only that it was asked.
        """
        self._test()
        if self.reload == "signal":
            master = self._master()
            try:
                os.kill(master, signal.SIGHUP)
            except OSError as error:
                raise NeedsOperator(
                    f"cannot signal nginx {master}: {error.strerror}",
                    hint="let the user certrotd runs as signal it, or reload by systemctl",
                ) from None
        else:
            self._run(self._reload_command())

    def _test(self) -> None:
        argv = [self.binary, "-t", "-q"]
        if self.prefix:
            argv += ["-p", self.prefix]
        if self.config:
            argv += ["-c", self.config]
        self._run(tuple(argv))

    def _reload_command(self) -> tuple[str, ...]:
        if isinstance(self.reload, str):
            return ("systemctl", "reload", self.unit)
        return self.reload

    def _run(self, argv: tuple[str, ...]) -> None:
        run(argv, deadline=Deadline(self.clock, self.timeout))

    def _master(self) -> int:
        try:
            text = read_file(self.pid_file, limit=_PID_BYTES).decode("ascii", "replace").strip()
        except FileNotFoundError:
            raise NeedsOperator(
                f"there is no {self.pid_file}", hint="start nginx, or correct pid_file"
            ) from None
        if not text:  # nginx -t makes it, and leaves it empty, where no nginx is running
            raise NeedsOperator(f"{self.pid_file} is empty", hint="start nginx")
        if not text.isdecimal() or int(text) <= 1:
            raise NeedsOperator(f"{self.pid_file} does not hold a process id")
        pid = int(text)
        try:
            name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        except OSError:
            raise NeedsOperator(
                f"nginx {pid} of {self.pid_file} is not running", hint="start nginx"
            ) from None
        if name not in ("nginx", Path(self.binary).name[:_COMM]):
            raise NeedsOperator(
                f"process {pid} of {self.pid_file} is {name}, not nginx",
                hint="the pid file is stale; start nginx",
            )
        return pid


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
