"""Target ``docker``: containers of a Docker engine."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from certrotd.config.base import (
    AbsolutePath,
    Argv,
    Entry,
    EntryFindings,
    Items,
    Text,
    refuse,
    shown,
)
from certrotd.config.durations import Duration
from certrotd.config.looks import library, readable
from certrotd.config.probes import OwnProbeEntry
from certrotd.config.target import TARGET_WAIT, BaseTargetEntry

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_-]*/[a-zA-Z0-9._-]+", re.ASCII)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise refuse(f"must be the name of a container, such as web, got {shown(value)}")
    return value


def _service(value: str) -> str:
    if not _SERVICE.fullmatch(value):
        raise refuse(f"must be PROJECT/SERVICE of Compose, such as shop/web, got {shown(value)}")
    return value


def _host(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return value
    if parts.scheme == "tcp" and parts.hostname and parts.port and not parts.path:
        return value
    raise refuse(
        "must be unix:///PATH or tcp://HOST:PORT, such as unix:///run/docker.sock, "
        f"got {shown(value)}"
    )


_Short = Annotated[Text, StringConstraints(max_length=200)]
ContainerName = Annotated[_Short, AfterValidator(_name)]
ComposeService = Annotated[_Short, AfterValidator(_service)]
DockerHost = Annotated[Text, AfterValidator(_host)]


class DockerTlsEntry(Entry):
    """How an engine is reached over TCP: both sides have certificates."""

    ca: AbsolutePath = Field(description="The PEM file of the CA of the engine's certificate.")
    cert: AbsolutePath = Field(description="The PEM file of certrotd's own certificate.")
    key: AbsolutePath = Field(description="The PEM file of its private key.")

    def examine(self) -> EntryFindings:
        """They can be read."""
        for name in ("ca", "cert", "key"):
            yield from readable(getattr(self, name), (name,))


class EngineEntry(Entry):
    """What an entry has that is about a Docker engine: how to reach it."""

    host: DockerHost = Field(
        default="unix:///run/docker.sock",
        description="Where the engine is: unix:///PATH, also of a rootless one, or "
        "tcp://HOST:PORT with tls.",
    )
    tls: DockerTlsEntry | None = Field(
        default=None, description="The files for tcp (null: none, for a socket on this host)."
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.host.startswith("tcp:") and self.tls is None:
            raise refuse(
                "host is tcp without tls: whoever reaches that port is root there; give tls, or "
                "use a socket"
            )
        if self.host.startswith("unix:") and self.tls is not None:
            raise refuse("tls is for tcp://HOST:PORT")
        return self


class DockerCopyEntry(Entry):
    """Where a container has its own copy, because it mounts none."""

    folder: AbsolutePath = Field(
        description="The folder in the container; fullchain.pem and privkey.pem are written there. "
        "{certificate} in it stands for the certificate's name, where there are several."
    )
    owner: int = Field(
        default=0, ge=0, le=2**31 - 1, description="The user in the container who may read them."
    )

    @property
    def separate(self) -> bool:
        """Whether each certificate has a folder of its own."""
        return "{certificate}" in str(self.folder)


class ContainerProbeEntry(OwnProbeEntry):
    """One port at which each container must serve the new certificate."""

    where: ClassVar[str] = "each container"
    port: int = Field(
        ge=1,
        le=65535,
        description="The port in each container to connect to; the label certrotd.port names "
        "another one for its container.",
    )
    via: Literal["address", "published"] = Field(
        default="address",
        description="At the container's own address, or at the port of the engine's machine that "
        "is published for it. In the network of that machine, there in any case.",
    )


class DockerEntry(BaseTargetEntry, EngineEntry):
    """Containers of a Docker engine, told one after the other."""

    type: Literal["docker"] = Field(description="Containers of a Docker engine.")
    containers: Items[ContainerName] = Field(
        default=(), max_length=1000, description="Containers by name, told in this order."
    )
    services: Items[ComposeService] = Field(
        default=(),
        max_length=1000,
        description="PROJECT/SERVICE of Compose: all containers of each, after those.",
    )
    labelled: bool = Field(
        default=False,
        description="Whether containers come next that have the label certrotd.certificate, whose "
        "value names the certificate (several with commas).",
    )
    mounting: bool = Field(
        default=False,
        description="Whether containers come last that mount the certificate's folder of this "
        "host, or one above it.",
    )
    mode: Literal["signal", "exec", "restart", "recreate"] = Field(
        default="signal",
        description="How a container gets the new certificate: its first process gets signal, "
        "command runs in it, or it is restarted. With recreate somebody else makes it anew: "
        "certrotd says which ones, and what to run, until that is done.",
    )
    signal: Literal["HUP", "USR1", "USR2"] = Field(
        default="HUP", description="With mode signal: which one."
    )
    command: Argv | None = Field(
        default=None, description="With mode exec: the program and its arguments, without a shell."
    )
    check: Argv | None = Field(
        default=None,
        description="A program that must succeed in each container before it is told, such as "
        "[nginx, -t] (null: none).",
    )
    copy_to: DockerCopyEntry | None = Field(
        default=None,
        description="Where certrotd writes the files in each container before it is told (null: "
        "they are mounted).",
    )
    container_probe: Items[ContainerProbeEntry] = Field(
        default=(),
        max_length=10,
        description="Ports at which each container must serve the new certificate before the next "
        "one is told.",
    )
    timeout: Duration = Field(
        default=timedelta(minutes=1),
        description="How long each container may take until it runs, and is healthy if it has a "
        "health check, and each program in it.",
    )

    @property
    def programs(self) -> bool:
        """As of others: what it runs, it runs in containers."""
        return False

    @property
    def own_probes(self) -> Sequence[OwnProbeEntry]:
        """As of others: of each container."""
        return self.container_probe

    @property
    def trails(self) -> bool:
        """As of others: containers come and go."""
        return True

    @property
    def lock_wait(self) -> float:
        """As long as another rotation may take with two containers, forth and back."""
        return max(TARGET_WAIT, 4 * self.timeout.total_seconds())

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not (self.containers or self.services or self.labelled or self.mounting):
            raise refuse("needs containers, services, labelled or mounting, to find any container")
        if (self.command is not None) != (self.mode == "exec"):
            raise refuse("needs mode: exec and command together: one is given without the other")
        if self.mode != "signal" and self.signal != "HUP":
            raise refuse("signal is for mode: signal")
        if self.mode == "recreate":
            for name in ("check", "copy_to", "container_probe", "probe"):
                if getattr(self, name):
                    raise refuse(
                        f"{name} is not for mode: recreate: containers have the new certificate "
                        "only once somebody has made them anew; watch: looks at what they serve"
                    )
        return self

    def examine(self) -> EntryFindings:
        """What reaches the engine is there."""
        yield from library("docker", ("type",), extra="docker")
