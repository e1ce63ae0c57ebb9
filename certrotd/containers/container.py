"""What an engine says of a container, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

LABEL = "certrotd.certificate"
"""A container with this label has the certificates that its value names, with commas between."""
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"


@dataclass(frozen=True)
class Mount:
    """A directory or file of the engine's machine, ``source``, at ``place`` in the container."""

    source: str
    place: str


@dataclass(frozen=True)
class Container:
    """As it was a moment ago.

    ``status`` is one of created, running, paused, restarting, removing, exited, dead; ``health`` is
    starting, healthy or unhealthy, empty where nothing checks it. ``started`` tells one run from
    the next, ``restarts`` counts those that the restart policy has made.
    """

    name: str
    status: str
    health: str = ""
    started: str = ""
    restarts: int = 0
    exit_code: int = 0
    labels: Mapping[str, str] | None = None
    mounts: Sequence[Mount] = ()

    @property
    def is_running(self) -> bool:
        """Whether its first process runs, and is not held."""
        return self.status == "running"

    def has(self, certificate: str) -> bool:
        """Whether its label names the certificate."""
        named = (self.labels or {}).get(LABEL, "")
        return certificate in (each.strip() for each in named.split(","))

    def mounts_of(self, folder: str) -> list[Mount]:
        """Those by which it reads the files of a certificate's ``live`` folder."""
        return [each for each in self.mounts if _is_within(folder, each.source)]

    def pinned(self, live: str) -> Mount | None:
        """The mount that keeps the files of the generation that was live when it started.

        ``live`` is a symbolic link: an engine resolves it once, at the start of a container.
        """
        return next((each for each in self.mounts if _is_within(each.source, live)), None)


def container(found: Mapping[str, Any]) -> Container:
    """That of an answer to "inspect a container" (Docker Engine API)."""
    state = found.get("State") or {}
    mounts = (found.get("Mounts") or ()) if isinstance(found.get("Mounts"), list) else ()
    return Container(
        name=str(found.get("Name", "")).removeprefix("/"),
        status=str(state.get("Status", "")),
        health=str((state.get("Health") or {}).get("Status", "")).replace("none", ""),
        started=str(state.get("StartedAt", "")),
        restarts=int(found.get("RestartCount") or 0),
        exit_code=int(state.get("ExitCode") or 0),
        labels=dict((found.get("Config") or {}).get("Labels") or {}),
        mounts=tuple(
            Mount(str(each.get("Source", "")), str(each.get("Destination", "")))
            for each in mounts
            if each.get("Source")
        ),
    )


def crash(before: Container, now: Container) -> str | None:
    """What shows that it does not work since it was told, in words; None if nothing does."""
    if now.status in ("exited", "dead", "removing"):
        return f"it ended with exit code {now.exit_code}"
    if now.status == "restarting" or now.restarts > before.restarts:
        return f"it ended with exit code {now.exit_code}, and is started again and again"
    if now.health == "unhealthy":
        return "its health check fails"
    return None


def _is_within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
