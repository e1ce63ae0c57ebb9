"""Runs certrotd many times without starting Python anew: one fork per run, one JSON line each.

Read from standard input: ``{"argv": [...], "strace": [...]}``; answered with ``{"code": N,
"stdout": "…", "stderr": "…"}``, the code being negative for a signal. ``argv`` are certrotd's
arguments; strace, unless the list is empty, is attached before certrotd begins.

The first line is rehearsed in the driver itself, so that every module is loaded: the runs after it
open only the files that are about the rotation. What certrotd prints is kept in memory and sent
through a socket: a write to a terminal is no point to break it off at.
"""

import ctypes
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any, NoReturn

from certrotd.cli.app import run

_PR_SET_PTRACER = 0x59616D61
_ANYBODY = ctypes.c_ulong(-1)


def main() -> None:
    """Answer jobs until standard input ends."""
    answer, output = _here, sys.stdout
    for line in sys.stdin:
        output.write(json.dumps(answer(json.loads(line))) + "\n")
        output.flush()
        answer = _forked


def _here(job: dict[str, Any]) -> dict[str, Any]:
    out, err = sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    sys.argv = ["certrotd", *job["argv"]]
    code = run()
    return {"code": code, "stdout": out.getvalue(), "stderr": err.getvalue()}


def _forked(job: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _child(job, theirs)
    theirs.close()
    tracer = _traced(child, job["strace"]) if job["strace"] else None
    with ours, ours.makefile() as received:
        said = received.read()
    _, status = os.waitpid(child, 0)
    if tracer is not None:
        tracer.wait()
    answer = {"stdout": "", "stderr": "", **json.loads(said or "{}")}
    return {**answer, "code": os.waitstatus_to_exitcode(status)}


def _child(job: dict[str, Any], parent: socket.socket) -> NoReturn:
    code = 70
    try:
        if job["strace"]:
            # where the Yama module restricts tracing to one's own children, strace is none of ours
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        answer = _here(job)
        code = answer["code"]
        parent.sendall(json.dumps(answer).encode())
    finally:
        os._exit(code)


def _traced(child: int, strace: list[str]) -> subprocess.Popen[bytes]:
    """Attach strace to a child that stops itself, and have it go on.

    What is stopped as it is attached to takes no step before strace lets it (ptrace(2),
    PTRACE_SEIZE); what runs could get on before strace counts its calls.
    """
    os.waitpid(child, os.WUNTRACED)
    argv = [*strace, "-p", str(child)]
    tracer = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _is_untraced(child):
        if tracer.poll() is not None:
            os.kill(child, signal.SIGKILL)
            raise SystemExit(f"{argv} ended with {tracer.returncode}")
        time.sleep(0.001)
    os.kill(child, signal.SIGCONT)
    return tracer


def _is_untraced(child: int) -> bool:
    with open(f"/proc/{child}/status") as status:
        return "TracerPid:\t0\n" in status.read()


if __name__ == "__main__":
    main()
