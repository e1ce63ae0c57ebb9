"""Publishing through a program of the operator's: a script, another tool's hook, a vendor CLI.

The program is started once per act, without arguments of ours and without a shell, in ``/``, with
stdin closed and only this in its environment:

- ``CERTROTD_ACTION``: ``present`` (add the value beside others at the name) or ``withdraw``
  (delete exactly that value; absent is fine); both may come twice,
- ``CERTROTD_FQDN``: the name of the TXT record, without a trailing dot,
- ``CERTROTD_VALUE``: its value,
- ``CERTROTD_ZONE``: the configured zone that holds the name; left out if none is configured,
- ``PATH``, ``LANG``, ``HOME`` and the variables the configuration lists, where they are set.

Exit status 0 is success, 75 (EX_TEMPFAIL, sysexits.h) asks for another try later, anything else
needs an operator. What it prints is shown when it fails.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import IO

from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.environment import reveal
from certrotd.config.solvers import ExecEntry
from certrotd.dns.names import fqdn, longest_zone
from certrotd.dns.records import TxtRecord
from certrotd.dns.words import seconds
from certrotd.errors import NeedsOperator, Transient

OUTPUT_LIMIT = 64 * 1024
"""Octets of output kept, the last ones."""

_EX_TEMPFAIL = 75
_ALWAYS = ("PATH", "LANG", "HOME")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHOWN_LINES = 5
_LOOK_EVERY = 0.05


class Exec:
    """A solver that runs ``command`` for at most ``timeout`` seconds.

    ``environment`` names further variables to hand through from ``inherited`` (this process's);
    ``zones`` are what CERTROTD_ZONE is chosen from.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        timeout: float = 120.0,
        environment: tuple[str, ...] = (),
        zones: tuple[str, ...] = (),
        inherited: Mapping[str, str] = os.environ,
    ) -> None:
        if not command:
            raise NeedsOperator("the command of the exec solver is empty")
        self._command = command
        self._timeout = timeout
        self._environment = environment
        self._zones = tuple(fqdn(zone) for zone in zones)
        self._inherited = inherited

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Run the command to add the record; raises NeedsOperator or Transient as it exits."""
        self._run("present", record, deadline)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Run the command to delete the record; raises as :meth:`present` does."""
        self._run("withdraw", record, deadline)

    def preflight(self, *, deadline: Deadline) -> None:  # noqa: ARG002
        """Raise NeedsOperator unless the program is there and executable."""
        program = self._command[0]
        if "/" in program and not program.startswith("/"):
            raise NeedsOperator(
                f"the DNS command {program} is relative", hint="it runs in /: give its whole path"
            )
        if shutil.which(program, path=self._base()["PATH"]) is None:
            raise NeedsOperator(
                f"the DNS command {program} is not an executable file",
                hint="correct the path, or chmod +x it",
            )

    def _run(self, action: str, record: TxtRecord, deadline: Deadline) -> None:
        limit = deadline.within(self._timeout)
        what = f"DNS command {self._command[0]} ({action} {record.name})"
        if limit.passed:
            raise Transient(f"{what} was not started: no time left")
        allowed = limit.remaining
        process, stdout = _start(self._command, self._variables(action, record), what)
        with stdout:
            output = _read_until_exit(process, stdout, limit)
        if process.poll() is None:
            _end_group(process, what)
            raise Transient(
                f"{what} did not finish within {seconds(allowed)} and was killed{_tail(output)}"
            )
        status = process.returncode
        if status == _EX_TEMPFAIL:
            raise Transient(f"{what} asks for another try (exit status 75){_tail(output)}")
        if status != 0:
            how = f"was killed by signal {-status}" if status < 0 else f"exited with {status}"
            raise NeedsOperator(f"{what} {how}{_tail(output)}")

    def _base(self) -> dict[str, str]:
        names = (*_ALWAYS, *self._environment)
        chosen = {name: self._inherited[name] for name in names if name in self._inherited}
        return {"PATH": _DEFAULT_PATH, **chosen}

    def _variables(self, action: str, record: TxtRecord) -> dict[str, str]:
        variables = {
            **self._base(),
            "CERTROTD_ACTION": action,
            "CERTROTD_FQDN": record.name,
            "CERTROTD_VALUE": record.value,
        }
        zone = longest_zone(record.name, self._zones)
        return variables if zone is None else {**variables, "CERTROTD_ZONE": zone}


def _start(
    command: tuple[str, ...], variables: Mapping[str, str], what: str
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=variables,
            start_new_session=True,
        )
    except BlockingIOError as error:
        raise Transient(f"{what} could not be started: {error.strerror}") from error
    except OSError as error:
        raise NeedsOperator(
            f"{what} could not be started: {error.strerror}",
            hint="the command is an executable file with a valid #! line",
        ) from error
    assert process.stdout is not None
    return process, process.stdout


def _end_group(process: subprocess.Popen[bytes], what: str) -> None:
    """Kill the program with everything it started, and reap it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError as error:
        raise NeedsOperator(
            f"{what} did not finish in time and runs as another user, so it was left running",
            hint="give it a deadline of its own, inside whatever changes the user",
        ) from error
    process.wait()


def _read_until_exit(
    process: subprocess.Popen[bytes], stdout: IO[bytes], deadline: Deadline
) -> bytes:
    """The end of the output, once the process has exited or ``deadline`` has passed.

    The output's end is not waited for: a grandchild left in the background may hold the pipe.
    """
    kept = bytearray()
    exited = False
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while not (exited or deadline.passed):
            exited = process.poll() is not None
            if not selector.select(0.0 if exited else min(_LOOK_EVERY, deadline.remaining)):
                continue
            # One read takes all that a pipe holds: after the exit, nothing more is the program's.
            part = os.read(stdout.fileno(), OUTPUT_LIMIT)
            if not part:
                _await_exit(process, deadline)
                break
            kept += part
            del kept[:-OUTPUT_LIMIT]
    return bytes(kept)


def _await_exit(process: subprocess.Popen[bytes], deadline: Deadline) -> None:
    try:
        process.wait(deadline.remaining)
    except subprocess.TimeoutExpired:
        return  # the caller sees that it still runs, and ends it


def _tail(output: bytes) -> str:
    """The last lines of ``output`` for the end of a message (which escapes them)."""
    lines = output.decode("utf-8", "replace").split("\n")
    last = [line.strip()[-300:] for line in lines if line.strip()][-_SHOWN_LINES:]
    return f": {' | '.join(last)}" if last else ""


def build(entry: ExecEntry, context: Context) -> Exec:  # noqa: ARG001
    """The solver of a configuration entry; its secrets are read here, when it is first used."""
    variables = reveal(entry.environment)
    return Exec(
        entry.command,
        timeout=entry.timeout.total_seconds(),
        environment=tuple(variables),
        zones=entry.zones,
        inherited={**os.environ, **variables},
    )
