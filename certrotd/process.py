"""Running a program as argv: never through a shell, bounded in time and output, killed whole."""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any
from weakref import WeakSet

from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator, Transient, of_the_machine

OUTPUT_LIMIT = 64 * 1024
"""Octets of output kept, the last ones."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_INHERITED = ("LANG", "HOME")
_SHOWN_LINES = 5
_PASSES = (errno.EAGAIN, errno.ETXTBSY)
_UNSTARTED = {
    errno.ENOENT: "it or the program in its #! line is missing",
    errno.EACCES: "chmod +x it and what its #! line names, and open the directories above them",
    errno.ENOEXEC: "it begins with a #! line, or is a program for this machine",
    errno.E2BIG: "its arguments and environment are too long",
}
_LOOK_EVERY = 0.05

_ours: WeakSet[subprocess.Popen[bytes]] = WeakSet()
_starting = threading.Lock()
"""Held from before a program is started until it is known to be one of ours."""


@dataclass(frozen=True)
class Ran:
    """How a program ended: its exit ``status`` (negative: the signal), and what it printed.

    ``output`` is the end of it, at most OUTPUT_LIMIT octets; ``status`` None: it was killed at the
    deadline.
    """

    status: int | None
    output: bytes

    @property
    def how(self) -> str:
        """The end in words, for a message."""
        if self.status is None:
            return "did not end in time and was killed"
        if self.status < 0:
            return f"was killed by signal {-self.status}"
        return f"exited with {self.status}"

    @property
    def tail(self) -> str:
        """The last lines of the output for the end of a message (which escapes them)."""
        lines = self.output.decode("utf-8", "replace").split("\n")
        last = [line.strip()[-300:] for line in lines if line.strip()][-_SHOWN_LINES:]
        return f": {' | '.join(last)}" if last else ""


def environment(
    more: Mapping[str, str], *, inherited: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What a program sees: search_path(), LANG and HOME of this process, and ``more``."""
    chosen = {name: inherited[name] for name in _INHERITED if name in inherited}
    return {"PATH": search_path(inherited), **chosen, **more}


def search_path(inherited: Mapping[str, str] = os.environ) -> str:
    """Where programs are looked for: PATH, and the folders of system programs behind it.

    cron and some shells leave those out, and nginx is there.
    """
    path = inherited.get("PATH")
    if not path:
        return DEFAULT_PATH
    known = path.split(":")
    return ":".join([path, *(folder for folder in _SYSTEM if folder not in known)])


def require(program: str, *, what: str, path: str | None = None) -> None:
    """NeedsOperator unless ``program`` can be started; ``what`` names it in the message.

    ``path`` is where it is looked for, that of search_path() unless given.
    """
    if "/" in program and not program.startswith("/"):
        raise NeedsOperator(
            f"{what} {program} is relative", hint="it runs in /: give its whole path"
        )
    if shutil.which(program, path=path or search_path()) is None:
        raise NeedsOperator(
            f"{what} {program} is not an executable file",
            hint="install it, correct the path, or chmod +x it",
        )


def run(
    argv: Sequence[str],
    *,
    what: str,
    deadline: Deadline,
    variables: Mapping[str, str],
    errors_too: bool = True,
    most: int | None = None,
    handles: Sequence[int] = (),
) -> Ran:
    """Run ``argv`` to its end or the ``deadline``, in ``/``, with stdin closed.

    ``what`` names it in messages; ``errors_too`` keeps its standard error with its output, else
    that is dropped. With ``most`` the beginning of the output is kept, not the end, and it is
    killed once it has printed more octets. It has the ``handles`` of this process, too. Raises
    NeedsOperator when it cannot be started, or neither ended nor killed; Transient when there is
    no time or no process left to start it.
    """
    if deadline.passed:
        raise Transient(f"{what} was not started: no time was left")
    process, stdout = _start(argv, what, variables, errors_too, handles)
    with stdout:
        try:
            output = _read_until_exit(process, stdout, deadline, most)
        finally:
            # before the pipe is closed: a program that is late would die of that instead
            late = process.poll() is None
            if late:
                _end_group(process, what)
    return Ran(None if late else process.returncode, output)


def succeed(
    argv: Sequence[str],
    *,
    what: str,
    deadline: Deadline,
    variables: Mapping[str, str],
    later: int | None = None,
) -> None:
    """As run(), of a program that has to end with 0; what it printed is shown if it does not.

    Raises Transient if it is killed at the deadline, or exits with the status ``later``, and
    NeedsOperator for any other.
    """
    allowed = deadline.remaining
    ran = run(argv, what=what, deadline=deadline, variables=variables)
    if ran.status is None:
        raise Transient(f"{what} did not end within {allowed:.3g}s and was killed{ran.tail}")
    if ran.status:
        kind = Transient if ran.status == later else NeedsOperator
        raise kind(f"{what} {ran.how}{ran.tail}")


def unstarted(what: str, error: OSError) -> Failure:
    """Why a program could not be started: for the operator, unless the machine is to blame."""
    why, blame = f"{what} could not be started: {error.strerror}", of_the_machine(error)
    if blame or error.errno in _PASSES:
        return Transient(why, hint=blame)
    return NeedsOperator(why, hint=_UNSTARTED.get(error.errno or 0, ""))


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """As subprocess.Popen, of a program whose end reap_orphans leaves to whoever started it."""
    with _starting:
        process = subprocess.Popen(list(argv), **options)
        _ours.add(process)
    return process


def reap_orphans() -> int:
    """Take note of processes that have ended and that nobody else will: how many they were.

    The first process of a container is left those whose parents end before them, such as what a
    reload puts into the background, and they stay in the table until it does. Every second is
    often enough: what was started here itself ends the look, and its own waiter takes it first.
    """
    reaped = 0
    with _starting:
        waited_for = {process.pid for process in _ours if process.returncode is None}
        while (ended := _ended()) is not None and ended not in waited_for:
            os.waitpid(ended, 0)
            reaped += 1
    return reaped


def _ended() -> int | None:
    """A child that has ended, and stays for whoever waits for it; None without one."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _start(
    argv: Sequence[str],
    what: str,
    variables: Mapping[str, str],
    errors_too: bool,
    handles: Sequence[int],
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    try:
        process = start(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors_too else subprocess.DEVNULL,
            cwd="/",
            pass_fds=handles,
            env=dict(variables),
            start_new_session=True,
        )
    except OSError as error:
        raise unstarted(what, error) from error
    assert process.stdout is not None
    return process, process.stdout


def _end_group(process: subprocess.Popen[bytes], what: str) -> None:
    """Kill the program with everything it started, and reap it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError as error:
        raise NeedsOperator(
            f"{what} did not finish in time and still runs as another user",
            hint="give it its own timeout, inside the command that changes the user",
        ) from error
    process.wait()


def _read_until_exit(
    process: subprocess.Popen[bytes], stdout: IO[bytes], deadline: Deadline, most: int | None
) -> bytes:
    """The output as run() keeps it, once the process has exited or ``deadline`` has passed.

    The output's end is not waited for: a grandchild left in the background may hold the pipe.
    """
    kept = bytearray()
    over = False
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while not over:
            # looked at first: what was printed before is read once more
            over = process.poll() is not None or deadline.passed
            if not selector.select(0.0 if over else min(_LOOK_EVERY, deadline.remaining)):
                continue
            # One read takes all that a pipe holds: after the exit, nothing more is the program's.
            part = os.read(stdout.fileno(), OUTPUT_LIMIT)
            if not part:
                _await_exit(process, deadline)
                break
            kept += part
            if most is None:
                del kept[:-OUTPUT_LIMIT]
            elif len(kept) > most:
                break
    return bytes(kept)


def _await_exit(process: subprocess.Popen[bytes], deadline: Deadline) -> None:
    try:
        process.wait(deadline.remaining)
    except subprocess.TimeoutExpired:
        return  # the caller sees that it still runs, and ends it
