"""systemctl and busctl, played by the test: programs on PATH that ask it what to answer."""

import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.parts.listener import Listener, silent

_PROGRAM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect("{address}")
    asked.sendall(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]).encode() + b"\\n")
    status, out, error = json.loads(asked.makefile().read())
sys.stdout.write(out)
sys.stderr.write(error)
sys.exit(status)
"""


@dataclass
class Unit:
    """A unit; ``job`` does what a verb asks, and says the error: "" for none, None to hang."""

    load: str = "loaded"
    active: str = "active"
    sub: str = "running"
    can: set[str] = field(default_factory=lambda: {"CanReload", "CanStart", "CanStop"})
    main_pid: int = 0
    argv: list[str] = field(default_factory=list)
    job: Callable[[str], str | None] = lambda _verb: ""
    told: list[str] = field(default_factory=list)


class Systemctl(Listener):
    """Programs in ``directory`` that answer as systemd 252 does for ``units``.

    ``refusals`` are what systemd says to a verb; ``output`` replaces what the programs print, and
    while ``hangs`` they print nothing and do not end.
    """

    def __init__(self, directory: Path) -> None:
        address = directory / "socket"
        super().__init__(self._reply, path=address)
        self.directory = directory
        self.units: dict[str, Unit] = {}
        self.refusals: dict[str, str] = {}
        self.output: dict[str, str] = {}
        self.hangs = False
        for name in ("systemctl", "busctl"):
            (directory / name).write_text(_PROGRAM.format(python=sys.executable, address=address))
            (directory / name).chmod(0o755)

    def _reply(self, connection: socket.socket) -> None:
        with connection.makefile() as lines:
            argv = json.loads(lines.readline())
        answer = self._answer(argv)
        if answer is None:
            silent(connection)
        else:
            connection.sendall(json.dumps(answer).encode())

    def _answer(self, argv: list[str]) -> tuple[int, str, str] | None:
        if self.hangs:
            return None
        if argv[0] in self.output:
            return 0, self.output[argv[0]], ""
        if argv[0] == "busctl":
            return self._exec_start(argv)
        unit = self.units.get(argv[-1], Unit("not-found", "inactive", "dead", set()))
        if argv[1] == "show":
            return 0, _shown(unit), ""
        if len(argv) == 3:  # as people type it
            _, verb, name = argv
            mode = ""
        else:
            _, _, mode, verb, dashes, name = argv
            assert dashes == "--"
        if verb in self.refusals:
            return _failed(verb, name, self.refusals[verb])
        if mode == "--job-mode=isolate":  # behind the question whether the caller may
            return _failed(verb, name, "Isolate is only valid for start.")
        unit.told.append(verb)
        error = unit.job(verb)
        return None if error is None else (1 if error else 0, "", error)

    def _exec_start(self, argv: list[str]) -> tuple[int, str, str]:
        _, _, _, service, path, interface, name = argv
        assert (service, name) == ("org.freedesktop.systemd1", "ExecStart")
        assert interface == "org.freedesktop.systemd1.Service"
        [unit] = [unit for each, unit in self.units.items() if path.endswith(f"/{_label(each)}")]
        commands = [[unit.argv[0], unit.argv, False, 0, 0]] if unit.argv else []
        return 0, json.dumps({"type": "a(sasbtt)", "data": commands}), ""


def _shown(unit: Unit) -> str:
    names = ("CanReload", "CanStart", "CanStop")
    can = [f"{name}={'yes' if name in unit.can else 'no'}" for name in names]
    states = [f"LoadState={unit.load}", f"ActiveState={unit.active}", f"SubState={unit.sub}"]
    return "\n".join([f"MainPID={unit.main_pid}", *states, *can, ""])


def _failed(verb: str, name: str, words: str) -> tuple[int, str, str]:
    status = f"See system logs and 'systemctl status {name}' for details."
    return 1, "", f"Failed to {verb} {name}: {words}\n{status}\n"


def _label(name: str) -> str:
    """A unit's name in an object path of D-Bus."""
    return "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)
