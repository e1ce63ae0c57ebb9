"""Runs certrotd many times without starting Python anew: one fork per run, one JSON line each.

Read from standard input: ``{"argv": [...], "output": PATH, "strace": [...] or null}``; answered
with ``{"code": N}``, negative for a signal. ``argv`` are certrotd's arguments, its standard output
and error go to PATH.out and PATH.err, and strace, if asked for, is attached before it begins.

The first line is rehearsed in the driver itself, so that every module is loaded: the runs after it
open only the files that are about the rotation.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from typing import Any, NoReturn

_PR_SET_PTRACER = 0x59616D61
_ANYBODY = ctypes.c_ulong(-1)


def main() -> None:
    """Answer jobs until standard input ends."""
    from certrotd.cli.app import run

    rehearsed = False
    for line in sys.stdin:
        job = json.loads(line)
        code = _forked(job) if rehearsed else _here(job, run)
        rehearsed = True
        sys.stdout.write(json.dumps({"code": code}) + "\n")
        sys.stdout.flush()


def _here(job: dict[str, Any], run: Any) -> int:
    sys.argv = ["certrotd", *job["argv"]]
    saved = os.dup(1), os.dup(2)
    _redirect(job["output"])
    code: int = run()
    sys.stdout.flush()
    sys.stderr.flush()
    for number, handle in zip((1, 2), saved, strict=True):
        os.dup2(handle, number)
        os.close(handle)
    return code


def _forked(job: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        _child(job)
    tracer = None
    if job["strace"]:
        tracer = subprocess.Popen(
            [*job["strace"], "-p", str(child)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    _, status = os.waitpid(child, 0)
    if tracer is not None:
        tracer.wait()
    return os.waitstatus_to_exitcode(status)


def _child(job: dict[str, Any]) -> NoReturn:
    code = 70
    try:
        from certrotd.cli.app import run

        _redirect(job["output"])
        sys.argv = ["certrotd", *job["argv"]]
        if job["strace"]:
            _await_tracer()
        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _redirect(output: str) -> None:
    for number, suffix in ((1, "out"), (2, "err")):
        handle = os.open(f"{output}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, number)
        os.close(handle)


def _await_tracer() -> None:
    # where the Yama module restricts tracing to one's own children, strace is none of ours
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    while True:
        with open("/proc/self/status") as status:
            if "TracerPid:\t0\n" not in status.read():
                return
        time.sleep(0.001)


if __name__ == "__main__":
    main()
