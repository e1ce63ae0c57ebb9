"""``certrotd run``."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

STDERR = 2


def run(config: Path) -> int:
    """Carry out ``certrotd run``; the exit code."""
    from certrotd.daemon.run import run as carry_out

    code = carry_out(config, write)
    if threading.active_count() > 1:
        # a thread that still hangs somewhere would meet the end of the interpreter in native code,
        # which aborts the process; what it does is journaled, and nothing is left to be written
        os._exit(code)
    return code


def write(line: str) -> None:
    """A line on standard error, at once; the only place the daemon's words pass.

    Not through sys.stderr, whose lock a thread may hold when the process ends.
    """
    rest = f"{line}\n".encode(errors="backslashreplace")
    # whoever reads the log may be gone, which is no reason to stop
    with contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(STDERR, rest) :]
