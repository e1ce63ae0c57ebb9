"""What serves the certificates: one class per type of target, and the line that lists them."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    StringConstraints,
    model_validator,
)

from certrotd.config.base import (
    AbsolutePath,
    Argv,
    EntryFindings,
    Items,
    Text,
    refuse,
    shown,
)
from certrotd.config.cluster import ClusterEntry
from certrotd.config.docker import DockerEntry
from certrotd.config.durations import Duration, DurationOrZero
from certrotd.config.looks import folder, program, readable
from certrotd.config.probes import OwnProbeEntry, PodProbeEntry
from certrotd.config.secrets import Environment
from certrotd.config.services import (
    ApacheEntry,
    DovecotEntry,
    HaproxyEntry,
    HttpTargetEntry,
    NoneEntry,
    PostfixEntry,
    PostgresqlEntry,
)
from certrotd.config.target import TARGET_WAIT, BaseTargetEntry

MAX_UNIT = 255
MAX_TARGET_WAIT = 3600.0
_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\@-]*)?"
    r"\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)",
    re.ASCII,
)
_UNIT_CHARACTERS = re.compile(r"[A-Za-z0-9:_.\\@-]+", re.ASCII)


def _unit(value: str) -> str:
    """A unit as systemd names it (systemd.unit(5)), with its suffix and, of a template, instance.

    systemctl would add ``.service`` by itself, the manager does not.
    """
    if not _UNIT_CHARACTERS.fullmatch(value):
        raise refuse(
            "must be the name of a systemd unit (letters, digits and : - _ . \\ @), such as "
            f"nginx.service, got {shown(value)}"
        )
    if not (match := _UNIT.fullmatch(value)):
        right = f"{value}.service" if _UNIT.fullmatch(f"{value}.service") else "nginx.service"
        raise refuse(f"must be a systemd unit with its suffix, such as {right}, got {shown(value)}")
    if value.endswith(f"@.{match[1]}"):
        right = value.replace("@.", "@INSTANCE.")
        raise refuse(f"is a template and needs an instance: write {right}, got {shown(value)}")
    return value


def _service(value: str) -> str:
    if not _unit(value).endswith(".service"):
        raise refuse(f"must be a .service: only it has a main process, got {shown(value)}")
    return value


_LABEL = r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-\w.]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-\w.]*[A-Za-z0-9])?)?"
_REQUIREMENT = rf"!?{_LABEL}|{_LABEL}\s*(?:=|==|!=)\s*{_VALUE}|"
_REQUIREMENT += rf"{_LABEL}\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\)"
_SELECTOR = re.compile(rf"(?:{_REQUIREMENT})(?:\s*,\s*(?:{_REQUIREMENT}))*", re.ASCII)
_WORKLOAD = re.compile(
    r"(?:deployment|statefulset|daemonset)/[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?", re.ASCII
)


def _workload(value: str) -> str:
    if not _WORKLOAD.fullmatch(value):
        raise refuse(
            "must be KIND/NAME, where KIND is deployment, statefulset or daemonset, such as "
            f"deployment/web, got {shown(value)}"
        )
    return value


def _selector(value: str) -> str:
    if not _SELECTOR.fullmatch(value):
        raise refuse(
            "must be a label selector as kubectl takes it, such as app=web or "
            f'"app in (web, api),!canary", got {shown(value)}'
        )
    return value


def _reload(value: object) -> str | tuple[str, ...]:
    if value in ("signal", "systemctl"):
        return str(value)
    if isinstance(value, list | tuple) and value:
        words = tuple(word for word in value if isinstance(word, str) and "\0" not in word)
        if len(words) == len(value):
            return words
    raise refuse(
        f"must be signal, systemctl or a program with its arguments as a list, got {shown(value)}"
    )


Reload = Annotated[
    Literal["signal", "systemctl"] | tuple[str, ...],
    PlainValidator(_reload, json_schema_input_type=Literal["signal", "systemctl"] | Argv),
]
_Unit = Annotated[str, StringConstraints(max_length=MAX_UNIT)]
Unit = Annotated[_Unit, AfterValidator(_unit)]
Service = Annotated[_Unit, AfterValidator(_service)]
WorkloadName = Annotated[Text, StringConstraints(max_length=270), AfterValidator(_workload)]
LabelSelector = Annotated[Text, AfterValidator(_selector)]


class NginxEntry(BaseTargetEntry):
    """An nginx on this host."""

    type: Literal["nginx"] = Field(description="An nginx on this host.")
    binary: Text = Field(default="nginx", description="The program, by name or absolute path.")
    config: AbsolutePath | None = Field(
        default=None, description="Its configuration file, as after -c (null: the built-in one)."
    )
    prefix: AbsolutePath | None = Field(
        default=None, description="Its prefix, as after -p (null: the built-in one)."
    )
    reload: Reload = Field(
        default="signal",
        description="How to reload it: signal (HUP to the process in pid_file), systemctl (reload "
        "of unit), or a program with its arguments.",
    )
    pid_file: AbsolutePath = Field(
        default=Path("/run/nginx.pid"),
        description="The file with its master process's number.",
    )
    unit: Text = Field(default="nginx.service", description="Its systemd unit.")
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long a check or a reload may take."
    )

    def examine(self) -> EntryFindings:
        """The programs are there, and what nginx is given to read."""
        yield from program(self.binary, ("binary",))
        if self.reload != "signal":
            first = self.reload if isinstance(self.reload, str) else self.reload[0]
            yield from program(first, ("reload",))
        yield from readable(self.config, ("config",))
        yield from folder(self.prefix, ("prefix",))


class CommandEntry(BaseTargetEntry):
    """Any service, reloaded by your own program."""

    type: Literal["command"] = Field(description="Your own program.")
    command: Argv = Field(
        description="The program that makes the service load the new files, run without a shell."
    )
    check: Argv | None = Field(
        default=None,
        description="A program that must succeed before certrotd changes anything (null: none).",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=60), description="How long each of the programs may take."
    )
    environment: Environment = Field(
        default={}, description="Variables for the programs: text, or references to secrets."
    )
    together: bool = Field(
        default=False,
        description="Whether one run serves all certificates that are renewed together; each "
        "CERTROTD_ variable then has a line per certificate.",
    )

    def examine(self) -> EntryFindings:
        """The programs are there, where their own PATH has them found."""
        own = self.environment.get("PATH")
        path = own if isinstance(own, str) else None
        yield from program(self.command[0], ("command",), path=path)
        if self.check is not None:
            yield from program(self.check[0], ("check",), path=path)

    @property
    def keyless(self) -> bool:
        """It is for you to say what it does."""
        return True


class SystemdEntry(BaseTargetEntry):
    """A unit of systemd on this host."""

    type: Literal["systemd"] = Field(description="A unit of systemd.")
    unit: Unit = Field(description="The unit, with its suffix, such as nginx.service.")
    verb: Literal[
        "reload", "restart", "reload-or-restart", "try-restart", "try-reload-or-restart"
    ] = Field(
        default="reload",
        description="What systemd does, as in systemctl; verbs with try- do nothing if the unit "
        "does not run.",
    )
    timeout: Duration = Field(
        default=timedelta(minutes=2), description="How long a check, or the whole job, may take."
    )

    def examine(self) -> EntryFindings:
        """systemctl is there."""
        yield from program("systemctl", ("type",))

    @property
    def keyless(self) -> bool:
        """It is for you to say what it does."""
        return True


class SignalEntry(BaseTargetEntry):
    """A process on this host that reads its files again at a signal."""

    type: Literal["signal"] = Field(description="A signal to a process.")
    signal: Literal["HUP", "USR1", "USR2"] = Field(
        default="HUP", description="The signal that makes it read its files again."
    )
    pid_file: AbsolutePath | None = Field(
        default=None, description="The file with the number of the process."
    )
    unit: Service | None = Field(
        default=None,
        description="The systemd service of the process, instead of pid_file.",
    )
    process: Annotated[Text, StringConstraints(max_length=200)] | None = Field(
        default=None,
        description="The name the process must have, as in ps -o comm (null: any name).",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long systemd may take to name the process."
    )
    starts_within: DurationOrZero = Field(
        default=timedelta(0),
        description="How long a check waits for the process to be there, as in a pod whose "
        "containers start one after the other (0s: it is there, or the check fails).",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.pid_file is None) == (self.unit is None):
            raise refuse("needs either pid_file or unit, to find the process")
        return self

    def examine(self) -> EntryFindings:
        """systemctl is there, if it is asked for the process."""
        if self.unit is not None:
            yield from program("systemctl", ("unit",))

    @property
    def keyless(self) -> bool:
        """It is for you to say what it does."""
        return True


class KubernetesEntry(BaseTargetEntry, ClusterEntry):
    """Workloads in a namespace of a Kubernetes cluster, whose pods are replaced or reload."""

    type: Literal["kubernetes"] = Field(
        description="Workloads of a Kubernetes cluster, restarted pod by pod or reloaded."
    )
    mode: Literal["restart", "none", "exec", "signal"] = Field(
        default="restart",
        description="How pods get the new certificate: restart (a rolling restart), none (they "
        "notice by themselves), exec (command runs in each) or signal (process 1 of each gets it).",
    )
    command: Argv | None = Field(
        default=None,
        description="With mode exec: the program that makes a container load the new files, run "
        "in it without a shell.",
    )
    signal: Literal["HUP", "USR1", "USR2"] = Field(
        default="HUP", description="With mode signal: which one; the container must have sh."
    )
    container: Text | None = Field(
        default=None,
        description="With mode exec or signal: the container of each pod (null: the first).",
    )
    files: Items[AbsolutePath] = Field(
        default=(),
        description="With mode exec or signal: the certificate files in the container. certrotd "
        "waits until they are the new ones; the container must have cat.",
    )
    workloads: Items[WorkloadName] = Field(
        default=(),
        max_length=1000,
        description="KIND/NAME of each, with deployment, statefulset or daemonset, restarted one "
        "after the other in this order: a canary first.",
    )
    selector: LabelSelector | None = Field(
        default=None,
        description="A label selector: what it finds is restarted after workloads, by kind and "
        "name (null: none).",
    )
    mounting: bool = Field(
        default=False,
        description="Whether those are restarted as well, in the end, whose pods mount the "
        "certificate's Secret or take variables from it; its store must be kubernetes.",
    )
    secret: Literal["live", "versioned"] = Field(
        default="live",
        description="Which Secret the pod templates name: the live one of the certificate's store, "
        "or the immutable one of each generation, whose name certrotd writes into the template.",
    )
    pod_probe: Items[PodProbeEntry] = Field(
        default=(),
        description="Ports at which every pod must serve the new certificate, each at its own "
        "address, before the next workload is touched.",
    )
    timeout: Duration = Field(
        default=timedelta(minutes=10),
        description="How long each workload may take until all its pods are new and available, "
        "and as long again to go back.",
    )

    @property
    def own_probes(self) -> Sequence[OwnProbeEntry]:
        """As of others: of each pod."""
        return self.pod_probe

    @property
    def programs(self) -> bool:
        """As of others: what it runs, it runs in pods."""
        return False

    @property
    def versioned(self) -> bool:
        """Whether pods mount the Secret of a generation."""
        return self.secret == "versioned"  # noqa: S105

    @property
    def lock_wait(self) -> float:
        """As long as another rotation may take to restart its workloads and to go back.

        Of a selector or of mounting nobody knows before how many there are: the longest.
        """
        if self.selector is not None or self.mounting:
            return MAX_TARGET_WAIT
        longest = 2 * self.timeout.total_seconds() * len(self.workloads)
        return max(TARGET_WAIT, min(longest, MAX_TARGET_WAIT))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.workloads and self.selector is None and not self.mounting:
            raise refuse(
                "needs workloads, a selector or mounting, such as workloads: [deployment/web]"
            )
        runs = self.mode in ("exec", "signal")
        if (self.command is not None) != (self.mode == "exec"):
            raise refuse("needs mode: exec and command together: one is given without the other")
        if runs and not self.files:
            raise refuse(
                f"mode: {self.mode} needs files, to see when a pod has the new certificate, such "
                "as files: [/etc/tls/tls.crt]"
            )
        if self.mode != "signal" and self.signal != "HUP":
            raise refuse("signal is for mode: signal")
        if not runs and (self.files or self.container is not None):
            raise refuse("files and container are for mode: exec and mode: signal")
        if self.versioned and self.mode != "restart":
            raise refuse("secret: versioned needs mode: restart: the template is changed")
        if self.mode == "none" and not self.pod_probe:
            raise refuse("mode: none needs pod_probe: nothing else shows what the pods serve")
        if twice := {each for each in self.workloads if self.workloads.count(each) > 1}:
            raise refuse(f"has {min(twice)} twice in workloads: write it once")
        return self


TargetEntry = Annotated[
    NginxEntry
    | CommandEntry
    | SystemdEntry
    | SignalEntry
    | KubernetesEntry
    | DockerEntry
    | HaproxyEntry
    | PostgresqlEntry
    | PostfixEntry
    | DovecotEntry
    | ApacheEntry
    | HttpTargetEntry
    | NoneEntry,
    Field(discriminator="type"),
]
"""Every type of target; a new one is added here."""
