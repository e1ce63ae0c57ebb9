"""Running a program as argv, never through a shell, bounded in time and output."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from certrotd.errors import NeedsOperator, Transient, one_line

MAX_SHOWN = 500
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    argv: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None
) -> str:
    """Run ``argv`` to its end and give back its output (stdout and stderr together, escaped).

    The child sees PATH, LANG, HOME and ``environment`` only. On timeout (seconds) its whole process
    group is killed. Raises NeedsOperator when it cannot start or exits non-zero, Transient on
    timeout; both show the end of its output.
    """
    known = {name: os.environ[name] for name in ("LANG", "HOME") if name in os.environ}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ.get("PATH", PATH), **known, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise NeedsOperator(
            f"cannot run {argv[0]}: {error.strerror}", hint="is it installed, and executable?"
        ) from None
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
        raise Transient(f"{argv[0]} did not end within {timeout:g}s and was killed") from None
    text = one_line(output.decode("utf-8", "replace").strip()[-MAX_SHOWN:])
    if process.returncode != 0:
        how = (
            f"exit code {process.returncode}"
            if process.returncode > 0
            else f"signal {-process.returncode}"
        )
        raise NeedsOperator(f"{' '.join(argv)} failed ({how}): {text or 'no output'}")
    return text
