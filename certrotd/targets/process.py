"""Running a program as argv, never through a shell, bounded in time and output."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, Transient

MAX_SHOWN = 500
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = 64 * 1024
_LOOK_EVERY = 0.05


def require(program: str, environment: Mapping[str, str] | None = None) -> None:
    """Raise NeedsOperator unless run() would find ``program``."""
    if "/" in program and not program.startswith("/"):
        raise NeedsOperator(
            f"the program {program} is relative", hint="it would run in /: give its whole path"
        )
    if shutil.which(program, mode=os.X_OK, path=_environment(environment)["PATH"]) is None:
        raise NeedsOperator(
            f"{program} is not an executable program", hint="install it, or correct it"
        )


def run(
    argv: Sequence[str], *, deadline: Deadline, environment: Mapping[str, str] | None = None
) -> str:
    """Run ``argv`` to its end and give back the end of its output (stdout and stderr together).

    The child sees PATH, LANG, HOME and ``environment`` only. At the deadline its whole process
    group is killed; what it leaves in the background when it ends before, such as the service it
    restarted, is neither waited for nor killed. Raises NeedsOperator when it cannot start or exits
    non-zero, Transient at the deadline; both show the end of its output.
    """
    allowed = deadline.remaining
    process, stdout = _start(argv, _environment(environment))
    try:
        with stdout:
            output = _shown(_read_until_exit(process, stdout, deadline))
    finally:
        late = process.poll() is None
        if late:
            _end_group(process, argv[0])
    if late:
        raise Transient(
            f"{argv[0]} did not end within {allowed:.3g}s and was killed: {output or 'no output'}"
        )
    if code := process.returncode:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise NeedsOperator(f"{' '.join(argv)} failed ({how}): {output or 'no output'}")
    return output


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    known = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    return {"PATH": PATH, **known, **(more or {})}


def _start(
    argv: Sequence[str], environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except BlockingIOError as error:
        raise Transient(f"cannot run {argv[0]}: {error.strerror}") from None
    except OSError as error:
        raise NeedsOperator(
            f"cannot run {argv[0]}: {error.strerror}", hint="is it installed, and executable?"
        ) from None
    assert process.stdout is not None
    return process, process.stdout


def _read_until_exit(
    process: subprocess.Popen[bytes], stdout: IO[bytes], deadline: Deadline
) -> bytes:
    """The end of the output, once the process has ended or the deadline has passed.

    The output's own end is not waited for: what runs on in the background may hold the pipe.
    """
    kept = b""
    poll = select.poll()
    poll.register(stdout, select.POLLIN)
    while process.poll() is None and not deadline.passed:
        if not poll.poll(min(_LOOK_EVERY, deadline.remaining) * 1000):
            continue
        part = os.read(stdout.fileno(), _KEPT)
        if not part:
            _await(process, deadline)
            return kept
        kept = (kept + part)[-_KEPT:]
    # one read takes all that a pipe holds
    return kept + os.read(stdout.fileno(), _KEPT) if poll.poll(0) else kept


def _await(process: subprocess.Popen[bytes], deadline: Deadline) -> None:
    try:
        process.wait(deadline.remaining)
    except subprocess.TimeoutExpired:
        return  # the caller sees that it still runs, and ends it


def _end_group(process: subprocess.Popen[bytes], program: str) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:
        raise NeedsOperator(
            f"{program} did not end in time and runs as another user, so it was left running",
            hint="give it a deadline of its own, inside whatever changes the user",
        ) from None
    process.wait()


def _shown(output: bytes) -> str:
    # whoever puts it into a message has its control characters escaped there
    text = " ".join(output.decode("utf-8", "replace").split())
    return text if len(text) <= MAX_SHOWN else f"…{text[-MAX_SHOWN:]}"
