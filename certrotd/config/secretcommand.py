"""Runs the program that prints a secret: bounded in time and size, and silent about the content."""

import os
import select
import signal
import subprocess
from collections.abc import Sequence

from certrotd.clock import Deadline
from certrotd.errors import Transient
from certrotd.process import search_path, start, unstarted


def output(argv: Sequence[str], deadline: Deadline, limit: int) -> bytes:
    """What ``argv`` prints before ``deadline``; if that is more than ``limit``, its beginning.

    Its standard error is dropped: it may hold the secret too. Raises NeedsOperator if it cannot be
    started, Transient if it takes longer or ends with another status than 0.
    """
    try:
        child = start(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PATH": search_path()},
        )
    except OSError as error:
        raise unstarted(argv[0], error) from None
    with child:
        printed = _read(child, deadline, limit)
        if len(printed) >= limit:
            _kill(child)
            return printed
        try:
            status = child.wait(deadline.remaining)
        except subprocess.TimeoutExpired:
            _kill(child)
            raise Transient(
                f"{argv[0]} did not print the secret in time",
                hint="run it by hand, or raise its timeout",
            ) from None
    if status != 0:
        raise Transient(
            f"{argv[0]} ended with status {status} instead of printing the secret",
            hint="run it by hand to see why",
        )
    return printed


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the program and all it started, before its number can belong to anybody else."""
    os.killpg(child.pid, signal.SIGKILL)


def _read(child: subprocess.Popen[bytes], deadline: Deadline, limit: int) -> bytes:
    """All that comes until the end of the output, the deadline or ``limit``."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    printed = bytearray()
    while len(printed) < limit and poll.poll(deadline.remaining * 1000):
        chunk = os.read(descriptor, limit - len(printed))
        if not chunk:
            break
        printed += chunk
    return bytes(printed)
