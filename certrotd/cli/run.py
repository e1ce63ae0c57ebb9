"""``certrotd run``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


def run(config: Path) -> int:
    """Carry out ``certrotd run``; the exit code."""
    from certrotd.daemon.run import run as carry_out

    return carry_out(config, write)


def write(line: str) -> None:
    """A line on standard error, at once; the only place the daemon's words pass."""
    # whoever reads the log may be gone, which is no reason to stop
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
