"""A process that has its keys from its start on, and serves what it stored, over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tests.parts.process import free_port, wait_until
from tests.parts.systemctl import Unit

APPLICATIONS = Path(__file__).parent / "applications"
# It ends with the pytest that started it, of which the standard input is the last that is open.
_WRAPPER = '"$@" </dev/null & cat >/dev/null; kill "$!"; wait "$!" 2>/dev/null'


class Unreadable(Exception):
    """It did not open a value; the message is its answer."""


class Application:
    """A unit of systemd: the program, its variables, and what ``EnvironmentFile=`` names.

    ``GET /`` opens everything that it stored, ``PUT /NUMBER`` stores a value, and ``GET /keys``
    answers the SHA-256 of the file that it has read its keys from. ``{port}`` in the command is
    where it listens.
    """

    def __init__(
        self,
        command: Sequence[object],
        variables: Mapping[str, str],
        environment_file: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.restarts = 0
        self._command = [str(part).replace("{port}", str(self.port)) for part in command]
        self.variables = dict(variables)
        self.restarted: Callable[[], object] = lambda: None
        self._file = environment_file
        self._process: subprocess.Popen[bytes] | None = None
        self.unit = Unit(active="inactive", job=self.job)

    def job(self, verb: str) -> str:
        """What systemd does; the error, or nothing."""
        if verb in ("stop", "restart"):
            self.stop()
        if verb in ("start", "restart"):
            self.start()
            self.restarts += 1
            self.restarted()
        return ""

    def start(self) -> None:
        """Returns once it answers."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            ["sh", "-c", _WRAPPER, "sh", *self._command],
            env={**os.environ, **self.variables, **self._of_file()},
            cwd=APPLICATIONS.parents[2],  # where Python finds those of the tests
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)
        self.unit.active = "active"

    def stop(self) -> None:
        """Returns once it is gone."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)
            self._process = None
        self.unit.active = "inactive"

    def values(self) -> list[str]:
        """Everything that it stored, by number; raises Unreadable."""
        found: list[str] = json.loads(self._ask("GET", "/"))
        return found

    def put(self, number: int, text: str) -> None:
        """Store a value."""
        self._ask("PUT", f"/{number}", text)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._command[0]} has ended"
        try:
            self._ask("GET", "/keys")
        except OSError:
            return False
        return True

    def _ask(self, method: str, path: str, body: str | None = None) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status != 200:
            raise Unreadable(text)
        return text

    def _of_file(self) -> dict[str, str]:
        if self._file is None:
            return {}
        lines = self._file.read_text().splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line and line[0] != "#")
        return {name: value.strip("'\"") for name, _, value in pairs}
