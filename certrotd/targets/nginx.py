"""Target ``nginx``: tested with ``nginx -t``, reloaded by signal, by systemctl or by a command."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from certrotd.config.context import Context
from certrotd.config.targets import NginxEntry
from certrotd.errors import NeedsOperator
from certrotd.targets.process import run

Reload = Literal["signal", "systemctl"] | tuple[str, ...]


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

    def check(self) -> None:
        """As Target.check: the configuration is valid and there is an nginx to reload."""
        self._test()
        if self.reload == "signal":
            self._master()

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
                raise NeedsOperator(f"cannot signal nginx {master}: {error.strerror}") from None
        elif self.reload == "systemctl":
            run(("systemctl", "reload", self.unit), timeout=self.timeout)
        else:
            run(self.reload, timeout=self.timeout)

    def _test(self) -> None:
        argv = [self.binary, "-t", "-q"]
        if self.prefix:
            argv += ["-p", self.prefix]
        if self.config:
            argv += ["-c", self.config]
        run(argv, timeout=self.timeout)

    def _master(self) -> int:
        try:
            text = self.pid_file.read_text().strip()
        except OSError as error:
            raise NeedsOperator(
                f"cannot read {self.pid_file}: {error.strerror}", hint="is nginx running?"
            ) from None
        if not text.isdigit() or int(text) <= 1:
            raise NeedsOperator(f"{self.pid_file} does not hold a process id")
        pid = int(text)
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            raise NeedsOperator(
                f"nginx {pid} of {self.pid_file} is not running", hint="start nginx"
            ) from None
        if name != Path(self.binary).name:
            raise NeedsOperator(
                f"process {pid} of {self.pid_file} is {name}, not nginx",
                hint="the pid file is stale; start nginx",
            )
        return pid


def build(entry: NginxEntry, context: Context) -> NginxTarget:  # noqa: ARG001
    """The target of a configuration entry."""
    return NginxTarget(
        binary=entry.binary,
        config=None if entry.config is None else str(entry.config),
        prefix=None if entry.prefix is None else str(entry.prefix),
        reload=entry.reload,
        pid_file=entry.pid_file,
        unit=entry.unit,
        timeout=entry.timeout.total_seconds(),
    )
