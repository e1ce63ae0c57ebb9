"""How an application confirms which keys it has: one class per way, and their list."""

from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from certrotd.config.base import (
    REFUSED,
    AbsolutePath,
    Argv,
    Entry,
    EntryFindings,
    Text,
    refuse,
    shown,
)
from certrotd.config.cluster import ClusterAccessEntry
from certrotd.config.durations import Duration
from certrotd.config.looks import program, roots
from certrotd.config.notifications import receiver_url
from certrotd.config.secrets import Environment

SOCKET = "socket"
"""In the place of a directory of heartbeats: they come over the socket."""


class FileAcknowledgement(Entry):
    """A file that the consumer writes: the SHA-256 of the file that it reads its keys from."""

    file: AbsolutePath = Field(description="The file; its first word is the hash, in hex.")


class HttpAcknowledgement(Entry):
    """An address of the consumer that answers with the SHA-256 of the file that it has read."""

    http: Annotated[Text, AfterValidator(receiver_url)] = Field(
        description="The URL, https unless it is this machine; the first word of the answer is the "
        "hash, in hex."
    )
    roots: AbsolutePath | None = Field(
        default=None, description="The roots that verify it, in PEM (null: the system's)."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long an answer may take."
    )

    def examine(self) -> EntryFindings:
        """The roots are there."""
        yield from roots(self.roots, ("roots",))


class CommandAcknowledgement(Entry):
    """A program that exits with 0 once the consumer has the keys."""

    command: Argv = Field(
        description="The program and its arguments; CERTROTD_KEYRING and CERTROTD_HASHES (one "
        "hash for each file, and that of the keyring) tell it what is asked for."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long the program may take."
    )
    environment: Environment = Field(default={}, description="More variables for it.")

    def examine(self) -> EntryFindings:
        """Whether the program exists; it is not run."""
        return program(self.command[0], ("command",))


class HeartbeatAcknowledgement(Entry):
    """Heartbeats of the client library, which say what each process has."""

    heartbeat: AbsolutePath | Literal["socket"] = Field(
        description="The directory in which the processes write their heartbeats, or socket: they "
        "come over that of key_server."
    )
    instances: int = Field(
        default=1, ge=1, le=100_000, description="How many processes there are at least."
    )
    stale: Duration = Field(
        default=timedelta(minutes=5),
        description="A process that has not written for so long is gone.",
    )


def _server_url(value: str) -> str:
    if value.startswith("https://") and urlsplit(value).path in ("", "/"):
        return value.rstrip("/")
    raise refuse(f"must be an address such as https://10.0.0.11:6443, got {shown(value)}")


class ApiServerAcknowledgement(ClusterAccessEntry):
    """A Kubernetes API server, which tells which EncryptionConfiguration it has in use.

    What ``kubeconfig`` names, or the pod, has the cluster's roots and the account.
    """

    api_server: Annotated[Text, AfterValidator(receiver_url), AfterValidator(_server_url)] = Field(
        description="The address of one API server, as in https://10.0.0.11:6443; each of several "
        "is a consumer of its own. certrotd's account there must be one that may read /metrics."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long an answer may take."
    )


_KINDS: dict[str, type[Entry]] = {
    "file": FileAcknowledgement,
    "http": HttpAcknowledgement,
    "command": CommandAcknowledgement,
    "heartbeat": HeartbeatAcknowledgement,
    "api_server": ApiServerAcknowledgement,
}


_FORMS = (
    "{file: PATH}, {http: URL}, {command: [PROGRAM, …]}, {heartbeat: DIRECTORY} or "
    "{api_server: URL}"
)


def _given(value: object) -> list[str]:
    """Of which kinds ``value`` may be, by the keys that tell them apart."""
    if isinstance(value, dict):
        return [name for name in _KINDS if name in value]
    return [name for name, kind in _KINDS.items() if isinstance(value, kind)]


def _one_kind(value: object) -> object:
    given = _given(value)
    if len(given) > 1:
        raise refuse(f"has {' and '.join(given)}: keep one of them")
    return value


def _tag(value: object) -> str | None:
    return next((f"~{name}" for name in _given(value)), None)


AcknowledgementEntry = Annotated[
    Annotated[FileAcknowledgement, Tag("~file")]
    | Annotated[HttpAcknowledgement, Tag("~http")]
    | Annotated[CommandAcknowledgement, Tag("~command")]
    | Annotated[HeartbeatAcknowledgement, Tag("~heartbeat")]
    | Annotated[ApiServerAcknowledgement, Tag("~api_server")],
    Discriminator(_tag, custom_error_type=REFUSED, custom_error_message=f"must be one of {_FORMS}"),
    BeforeValidator(_one_kind),
]
