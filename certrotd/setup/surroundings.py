"""What is there on this host already: running services, their units, Docker, systemd."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certrotd.setup.catalogue import SERVICES

_UNIT = re.compile(r"/([A-Za-z0-9:_.@\\-]+\.service)(?:/|$)")


@dataclass(frozen=True)
class Surroundings:
    """``running`` are the services found and the systemd unit of each, None outside of one."""

    running: Mapping[str, str | None] = field(default_factory=dict)
    docker: bool = False

    @property
    def service(self) -> str:
        """The service to offer first."""
        first = next((each for each in SERVICES if each in self.running), None)
        return first or ("docker" if self.docker else "none")

    def told(self) -> str:
        """What was found, in words; "" for nothing."""
        found = [
            f"{name} runs ({unit})" if unit else f"{name} runs"
            for name, unit in self.running.items()
        ]
        return ", ".join([*found, "Docker is there"] if self.docker else found)


def look(proc: Path = Path("/proc"), docker: Path = Path("/run/docker.sock")) -> Surroundings:
    """Look at the processes of this machine, those of other containers left out."""
    names = {program: name for name, each in SERVICES.items() for program in each.programs}
    running: dict[str, str | None] = {}
    for process in sorted(proc.glob("[0-9]*"), key=lambda each: int(each.name)):
        try:
            program = (process / "comm").read_text(errors="replace").strip()
            if (name := names.get(program)) is None or name in running:
                continue
            if _space(process) not in (_space(proc / "self"), None):
                continue
            unit = _UNIT.search((process / "cgroup").read_text(errors="replace"))
        except OSError:  # it has ended
            continue
        running[name] = unit[1] if unit else None
    return Surroundings(running, docker.is_socket())


def _space(process: Path) -> str | None:
    """Its namespace of processes; None for nobody's to know."""
    try:
        return os.readlink(process / "ns" / "pid")
    except OSError:
        return None
