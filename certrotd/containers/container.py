"""What an engine says of a container, and what follows from it. Pure."""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from certrotd.errors import InvalidInput

LABEL = "certrotd.certificate"
"""A container with this label has the certificates that its value names, with commas between."""
PORT = "certrotd.port"
"""A container with this label is looked at there, whatever port the target says."""
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
FOLDER = "com.docker.compose.project.working_dir"
SWARM = "com.docker.swarm.service.name"
SETTLED = 10.0
"""After so many seconds of running, an engine takes a container for one that works again."""
_BEGIN = "-----BEGIN CERTIFICATE-----"
_BEGIN_IN_BASE64 = "LS0tLS1CRUdJTi"


@dataclass(frozen=True)
class Mount:
    """A directory or file of the engine's machine, ``source``, at ``place`` in the container."""

    source: str
    place: str


@dataclass(frozen=True)
class Embedded:
    """A certificate that a container was made with: ``place`` in words, leaf and its names."""

    place: str
    fingerprint: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """Where a container is reached: in the ``host``'s own network, at addresses, at ``published``.

    The last are by port of the container, an address and port of the engine's machine each.
    """

    host: bool = False
    addresses: tuple[str, ...] = ()
    published: Mapping[int, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """As it was a moment ago.

    ``status`` is one of created, running, paused, restarting, removing, exited, dead; ``health`` is
    starting, healthy or unhealthy, empty where nothing checks it. ``started`` tells one run from
    the next, ``restarts`` counts those that the restart policy has made. That one is empty where
    there is none, as is ``stop_signal`` where the image names none. ``made`` is in seconds
    since the epoch, 0 if that is not known; ``embedded`` are in its environment and labels. A
    ``passing`` one is removed when it ends (docker run --rm).
    """

    name: str
    status: str
    health: str = ""
    started: str = ""
    restarts: int = 0
    policy: str = ""
    stop_signal: str = ""
    exit_code: int = 0
    labels: Mapping[str, str] | None = None
    mounts: Sequence[Mount] = ()
    tmpfs: tuple[str, ...] = ()
    passing: bool = False
    made: float = 0.0
    embedded: tuple[Embedded, ...] = ()
    network: Network = Network()

    @property
    def is_running(self) -> bool:
        """Whether its first process runs, and is not held."""
        return self.status == "running"

    def has(self, certificate: str) -> bool:
        """Whether its label names the certificate."""
        named = (self.labels or {}).get(LABEL, "")
        return certificate in (each.strip() for each in named.split(","))

    def in_tmpfs(self, folder: str) -> bool:
        """Whether what is written there by way of the engine is hidden below a tmpfs."""
        places = [*self.tmpfs, *(each.place for each in self.mounts)]
        above = [each for each in places if _is_within(folder, each)]
        return max(above, key=len, default="") in self.tmpfs

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
    state, config = found.get("State") or {}, found.get("Config") or {}
    host = found.get("HostConfig") or {}
    mounts = (found.get("Mounts") or ()) if isinstance(found.get("Mounts"), list) else ()
    return Container(
        name=str(found.get("Name", "")).removeprefix("/"),
        status=str(state.get("Status", "")),
        health=str((state.get("Health") or {}).get("Status", "")).replace("none", ""),
        started=str(state.get("StartedAt", "")),
        restarts=int(found.get("RestartCount") or 0),
        policy=str((host.get("RestartPolicy") or {}).get("Name") or "").replace("no", "", 1),
        stop_signal=str(config.get("StopSignal") or ""),
        exit_code=int(state.get("ExitCode") or 0),
        labels=dict(config.get("Labels") or {}),
        mounts=tuple(
            Mount(str(each.get("Source", "")), str(each.get("Destination", "")))
            for each in mounts
            if each.get("Source")
        ),
        tmpfs=(
            *(str(each) for each in host.get("Tmpfs") or ()),
            *(str(each.get("Destination", "")) for each in mounts if each.get("Type") == "tmpfs"),
        ),
        passing=bool(host.get("AutoRemove")),
        made=_moment(str(found.get("Created", ""))),
        embedded=tuple(_embedded(config)),
        network=_network(found),
    )


def recreation(found: Container) -> str:
    """What to run so that it is made anew, with what it is made with as it is by then.

    An image may have any labels: in a shell, nothing of them is more than a word.
    """
    labels = {name: shlex.quote(value) for name, value in (found.labels or {}).items()}
    if service := labels.get(SWARM):
        return f"docker service update --force {service}"
    if PROJECT in labels and SERVICE in labels:
        folder = labels.get(FOLDER)
        where = f"in {folder}: " if folder else ""
        project, service = labels[PROJECT], labels[SERVICE]
        return f"{where}docker compose -p {project} up -d --no-deps --force-recreate {service}"
    return f"docker rm --force {found.name}, and docker run as it was made"


def address(found: Container, port: int, host: str, *, published: bool) -> tuple[str, int] | None:
    """Where to connect to a port of it, on the engine's machine ``host``; None if nowhere.

    Its label may name another port; ``published``: at the port that the engine publishes for it.
    """
    named = (found.labels or {}).get(PORT, "")
    wanted = int(named) if named.isdecimal() and 0 < int(named) < 2**16 else port
    network = found.network
    if network.host:
        return host, wanted
    if published:
        at, mapped = network.published.get(wanted, ("", 0))
        return (host if at in ("", "0.0.0.0", "::") else at, mapped) if mapped else None  # noqa: S104
    return (network.addresses[0], wanted) if network.addresses else None


def crash(before: Container, now: Container) -> str | None:
    """What shows that it does not work since it was told, in words; None if nothing does."""
    if now.status in ("exited", "dead", "removing"):
        return f"it ended with exit code {now.exit_code}"
    if now.status == "restarting" or now.restarts > before.restarts:
        return f"it ended with exit code {now.exit_code}, and is started again and again"
    if now.health == "unhealthy":
        return "its health check fails"
    return None


def loops(found: Container, now: float) -> bool:
    """Whether its restart policy starts it again and again; ``now`` is in seconds since the epoch.

    Between two of its ends such a container runs for a moment.
    """
    up = now - _moment(found.started)
    return found.status == "restarting" or (
        found.is_running and found.restarts > 1 and 0 <= up < SETTLED
    )


def gives_up(found: Container, signal: str) -> bool:
    """Whether its restart policy would not start it when it ends after that ``signal``, as HUP.

    An engine takes a signal for a wish that it ends, unless its image names another one for that.
    """
    return bool(found.policy) and found.stop_signal.removeprefix("SIG") in ("", signal)


def _is_within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _moment(text: str) -> float:
    with suppress(ValueError):
        return datetime.fromisoformat(text).timestamp()
    return 0.0


def _network(found: Mapping[str, Any]) -> Network:
    settings = found.get("NetworkSettings") or {}
    networks = (settings.get("Networks") or {}).values()
    published = {}
    for port, bindings in (settings.get("Ports") or {}).items():
        number, _, protocol = str(port).partition("/")
        if bindings and protocol == "tcp":
            at, mapped = str(bindings[0].get("HostIp") or ""), bindings[0].get("HostPort") or 0
            published[int(number)] = (at, int(mapped))
    return Network(
        (found.get("HostConfig") or {}).get("NetworkMode") == "host",
        tuple(str(each["IPAddress"]) for each in networks if each.get("IPAddress")),
        published,
    )


def _embedded(config: Mapping[str, Any]) -> Iterator[Embedded]:
    """The certificates in its environment and labels; nothing else of those is kept."""
    for entry in config.get("Env") or ():
        name, _, value = str(entry).partition("=")
        yield from _certificate(f"its variable {name}", value)
    for name, value in (config.get("Labels") or {}).items():
        yield from _certificate(f"its label {name}", str(value))


def _certificate(place: str, value: str) -> Iterator[Embedded]:
    if value.startswith(_BEGIN_IN_BASE64):
        with suppress(ValueError, binascii.Error):
            value = base64.b64decode(value).decode("utf-8", "replace")
    if _BEGIN not in value:
        return
    from certrotd.pki.facts import facts_of, parse_certificates

    text = value.replace("\\n", "\n")  # as files of variables have it in one line
    with suppress(InvalidInput):
        leaf = facts_of(parse_certificates(text.encode(), what=place)[0])
        yield Embedded(place, leaf.fingerprint, leaf.names)
