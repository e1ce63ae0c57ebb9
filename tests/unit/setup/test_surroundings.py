"""What init finds on a host, in a tree as of /proc."""

from __future__ import annotations

import socket
from pathlib import Path

from certrotd.setup.surroundings import Surroundings, look


def process(proc: Path, number: str, program: str, cgroup: str, space: str = "pid:[1]") -> None:
    """One process of it."""
    (proc / number / "ns").mkdir(parents=True)
    (proc / number / "comm").write_text(f"{program}\n")
    (proc / number / "cgroup").write_text(f"0::{cgroup}\n")
    (proc / number / "ns" / "pid").symlink_to(space)


def test_services_are_found_with_their_units(tmp_path: Path) -> None:
    """Those of other containers are not this host's."""
    proc = tmp_path / "proc"
    process(proc, "self", "certrotd", "/")
    process(proc, "9", "nginx", "/docker/4711", space="pid:[2]")
    process(proc, "10", "nginx", "/system.slice/nginx.service")
    process(proc, "11", "haproxy", "/user.slice")
    process(proc, "12", "bash", "/")
    (proc / "13").mkdir()  # it ends just now
    found = look(proc, tmp_path / "none")
    assert found == Surroundings({"nginx": "nginx.service", "haproxy": None})
    assert found.service == "nginx"
    assert found.told() == "nginx runs (nginx.service), haproxy runs"


def test_docker_is_offered_where_nothing_else_runs(tmp_path: Path) -> None:
    """By the engine's socket."""
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "docker.sock"))
        found = look(tmp_path, tmp_path / "docker.sock")
    assert (found.service, found.told()) == ("docker", "Docker is there")
    assert look(tmp_path, tmp_path / "none").service == "none"
