"""How an application that holds only one key is stopped, started, and shown to read its data."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import AbsolutePath, Argv, Entry, EntryFindings, Items, Text, refuse
from certrotd.config.cluster import ClusterEntry
from certrotd.config.docker import ContainerName, EngineEntry
from certrotd.config.durations import Duration
from certrotd.config.looks import library, program, roots
from certrotd.config.notifications import receiver_url
from certrotd.config.secrets import Environment
from certrotd.config.targets import Unit, WorkloadName


class ReadProbeEntry(Entry):
    """What shows that the application reads what is stored: an address, or a program."""

    http: Annotated[Text, AfterValidator(receiver_url)] | None = Field(
        default=None,
        description="A URL, https unless it is this machine, that answers with 200 only if the "
        "application decrypts something.",
    )
    contains: Text | None = Field(
        default=None, description="With http: what the answer contains then (null: anything)."
    )
    roots: AbsolutePath | None = Field(
        default=None,
        description="With http: the roots that verify it, in PEM (null: the system's).",
    )
    command: Argv | None = Field(
        default=None,
        description="In place of http: a program that exits with 0 only if the application "
        "decrypts something.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one answer may take."
    )
    within: Duration = Field(
        default=timedelta(minutes=1),
        description="How long after its start the application may take until it reads.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.http is None) == (self.command is None):
            raise refuse("needs either http or command")
        if self.http is None and (self.contains is not None or self.roots is not None):
            raise refuse("contains and roots belong to http")
        return self

    def examine(self) -> EntryFindings:
        """The program and the roots are there; nothing is asked."""
        yield from roots(self.roots, ("roots",))
        if self.command is not None:
            yield from program(self.command[0], ("command",))


class ScaledEntry(ClusterEntry):
    """Workloads of a Kubernetes cluster that are stopped by having no pods."""

    workloads: Items[WorkloadName] = Field(
        min_length=1,
        max_length=100,
        description="KIND/NAME of each, with deployment or statefulset: scaled to 0 in this order, "
        "and to their former number in the reverse one.",
    )

    @model_validator(mode="after")
    def _scalable(self) -> Self:
        for each in self.workloads:
            if each.startswith("daemonset/"):
                raise refuse(f"{each} has a pod on each node: it is not scaled")
        return self


class ContainersEntry(EngineEntry):
    """Containers of a Docker engine that are stopped and started."""

    names: Items[ContainerName] = Field(
        min_length=1,
        max_length=100,
        description="Containers by name, stopped in this order, and started in the reverse one.",
    )

    def examine(self) -> EntryFindings:
        """The library is there."""
        yield from library("docker", ("names",), extra="docker")


class CutoverEntry(Entry):
    """A rotation for an application that holds one key: it is stopped while its data changes."""

    units: Items[Unit] = Field(
        default=(),
        max_length=100,
        description="The units of systemd that are stopped, in this order, and started in the "
        "reverse one, such as shop.service.",
    )
    scale: ScaledEntry | None = Field(
        default=None,
        description="In place of units: workloads of a Kubernetes cluster, whose pods are taken "
        "away and given back.",
    )
    containers: ContainersEntry | None = Field(
        default=None, description="In place of units: containers of a Docker engine."
    )
    stop: Argv | None = Field(
        default=None,
        description="In place of units: a program that stops the application, or has it refuse "
        "to work; 0 also if it is stopped already.",
    )
    start: Argv | None = Field(
        default=None,
        description="With stop: a program that starts it; 0 also if it runs already.",
    )
    stopped: Argv | None = Field(
        default=None,
        description="With stop: a program that exits with 0 only while it is stopped (null: "
        "nobody can tell, so it is stopped once more after a crash of certrotd).",
    )
    environment: Environment = Field(default={}, description="More variables for the programs.")
    timeout: Duration = Field(
        default=timedelta(minutes=2), description="How long a stop, or a start, may take."
    )
    probe: ReadProbeEntry = Field(description="What shows that the application reads its data.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        others = self.scale is not None, self.containers is not None
        ways = [bool(self.units), *others, self.stop is not None]
        if sum(ways) != 1 and not (self.start and not any(ways)):
            raise refuse("needs either units, or scale, or containers, or stop and start")
        if (self.stop is None) != (self.start is None):
            raise refuse("stop and start belong together")
        if self.stop is None and (self.stopped is not None or self.environment):
            raise refuse("stopped and environment belong to stop and start")
        return self

    def examine(self) -> EntryFindings:
        """Whether the programs exist; none is run."""
        if self.units:
            yield from program("systemctl", ("units",))
        for name in ("stop", "start", "stopped"):
            if argv := getattr(self, name):
                yield from program(argv[0], (name,))
