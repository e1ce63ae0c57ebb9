"""Processes known by a number: told apart from those that have the number by now, then signalled.

A pid file outlives its process, and the kernel gives numbers away again. So a process is held by
a pidfd from before it is looked at until it is signalled: what was looked at is what is told, or
nobody is.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from certrotd.clock import Clock
from certrotd.dial import ready
from certrotd.errors import NeedsOperator
from certrotd.files.reading import read_status

ASK = 0
"""The signal that is none: only whether one could be sent."""

_PID_BYTES = 64
_MAX_PID = 2**31 - 1
_COMM = 15  # characters of a name that the kernel keeps
_ENDED = "ZX"
_SLACK = 2.0  # seconds; file systems keep times coarsely, and clocks are adjusted
_OTHERS_WRITE = 0o002
_NOT_ALLOWED = (errno.EPERM, errno.EACCES)


@dataclass(frozen=True)
class WantedProcess:
    """Whose process is meant: ``names`` it may have, as in ``/proc/PID/comm``; none: any."""

    names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What a message calls the process."""
        return self.names[0] if self.names else "process"

    @property
    def service(self) -> str:
        """What a message tells to start."""
        return self.names[0] if self.names else "the service"

    def accepts(self, process: Process) -> bool:
        """Whether the process has one of the names."""
        return not self.names or process.comm in [name[:_COMM] for name in self.names]


@dataclass(frozen=True)
class Process:
    """A process as ``/proc`` has it.

    ``uid`` is the effective one; when it ``started``, and the machine, its kernel ``booted``, is
    in seconds since the epoch, as the clock is now.
    """

    comm: str
    state: str
    uid: int
    started: float
    booted: float = 0.0


@dataclass(frozen=True)
class PidFile:
    """A file with the number of a process; ``written`` is in seconds since the epoch."""

    path: Path
    pid: int
    uid: int
    mode: int
    written: float

    def refusal(self, process: Process, wanted: WantedProcess) -> tuple[str, str] | None:
        """Why this is not the process that wrote the file, and what to do; None if it may be."""
        if not wanted.accepts(process):
            return (
                f"is {process.comm}, not {wanted.kind}",
                f"the pid file is stale; start {wanted.service}",
            )
        # a machine without a battery writes its first files in 1970: there the name has to do
        timed = self.written >= process.booted - _SLACK or not wanted.names
        if timed and process.started > self.written + _SLACK:
            return (
                "started after that was written: it is another process",
                f"the pid file is stale; start {wanted.service}",
            )
        if self.mode & _OTHERS_WRITE:
            return "could be any process: every user may write the file", "chmod o-w the file"
        if self.uid not in (0, os.geteuid(), process.uid):
            return (
                f"runs as user {process.uid}, but the file is user {self.uid}'s",
                "the owner of the file could have any process signalled: chown it to root",
            )
        return None


def signal_pid_file(path: Path, number: int, wanted: WantedProcess, *, clock: Clock) -> None:
    """Send a signal to the process of a pid file.

    NeedsOperator says why not.
    """
    file = read_pid_file(path, wanted)
    signal_process(
        file.pid,
        number,
        wanted,
        known_by=str(path),
        refusal=lambda process: file.refusal(process, wanted),
        clock=clock,
    )


def read_pid_file(path: Path, wanted: WantedProcess) -> PidFile:
    """The pid file at ``path``; NeedsOperator says what is wrong with it."""
    try:
        content, file = read_status(path, limit=_PID_BYTES)
    except FileNotFoundError:
        raise NeedsOperator(
            f"there is no {path}", hint=f"start {wanted.service}, or correct pid_file"
        ) from None
    text = content.strip().decode("ascii", "replace")  # of bytes: only what ASCII calls a space
    if not text:  # nginx -t makes it, and leaves it empty, where no nginx is running
        raise NeedsOperator(f"{path} is empty", hint=f"start {wanted.service}")
    if not text.isdecimal() or int(text) <= 1:
        raise NeedsOperator(f"{path} does not hold a process id")
    return PidFile(path, int(text), file.st_uid, file.st_mode, file.st_mtime)


def signal_process(
    pid: int,
    number: int,
    wanted: WantedProcess,
    *,
    known_by: str,
    refusal: Callable[[Process], tuple[str, str] | None],
    clock: Clock,
) -> None:
    """Send a signal to process ``pid``, unless there is a ``refusal`` and a hint.

    It is asked while the process is held: its number cannot pass to another one meanwhile.
    NeedsOperator says why nothing was sent; ``known_by`` is where the number is from.
    """
    try:
        handle = os.pidfd_open(min(pid, _MAX_PID))
    except ProcessLookupError:
        raise _gone(pid, wanted, known_by) from None
    except OSError as error:
        raise _cannot(pid, wanted, error) from None
    try:
        process = _held(pid, handle, wanted, known_by, clock)
        if (reason := refusal(process)) is not None:
            raise NeedsOperator(f"process {pid} of {known_by} {reason[0]}", hint=reason[1])
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        raise _gone(pid, wanted, known_by) from None
    except OSError as error:
        raise _cannot(pid, wanted, error) from None
    finally:
        os.close(handle)


def _held(pid: int, handle: int, wanted: WantedProcess, known_by: str, clock: Clock) -> Process:
    process = look(pid, clock)
    if process is not None and process.state not in _ENDED:
        return process
    if ready(handle, select.POLLIN):
        raise _gone(pid, wanted, known_by)
    raise NeedsOperator(
        f"{wanted.kind} {pid} of {known_by} cannot be looked at in /proc",
        hint="certrotd must see it there: ProtectProc=default, no hidepid",
    )


def look(pid: int, clock: Clock) -> Process | None:
    """The process as /proc has it (proc(5)), or None if it is not there, or not to be seen."""
    folder = Path(f"/proc/{pid}")
    try:
        stat = (folder / "stat").read_text(errors="replace")
        status = (folder / "status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # pid (comm) state ppid …, where comm may hold spaces and brackets
    head, _, tail = stat.rpartition(")")
    state, *fields = tail.split()
    ticks = int(fields[18])  # field 22 of them all, since boot
    # not btime of /proc/stat, which a service may not see
    booted = clock.now().timestamp() - time.clock_gettime(time.CLOCK_BOOTTIME)
    started = booted + ticks / os.sysconf("SC_CLK_TCK")
    # not the owner of /proc/PID, which is root where a process has dropped its rights
    _real, effective, *_ = _value(status, "Uid:").split()
    return Process(head.partition("(")[2], state, int(effective), started, booted)


def _value(text: str, key: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(key)).removeprefix(key)


def _gone(pid: int, wanted: WantedProcess, known_by: str) -> NeedsOperator:
    return NeedsOperator(
        f"{wanted.kind} {pid} of {known_by} is not running", hint=f"start {wanted.service}"
    )


def _cannot(pid: int, wanted: WantedProcess, error: OSError) -> NeedsOperator:
    return NeedsOperator(
        f"cannot signal {wanted.kind} {pid}: {error.strerror}",
        hint="let the user certrotd runs as signal it, or reload by systemd"
        if error.errno in _NOT_ALLOWED
        else "",
    )
