"""Other hosts that certificates are delivered to over SSH, and what is delivered there."""

from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from certrotd.config.addresses import SshAddress
from certrotd.config.base import (
    AbsolutePath,
    Argv,
    Entry,
    EntryFindings,
    Items,
    SafeName,
    Text,
    refuse,
)
from certrotd.config.durations import Duration
from certrotd.config.looks import library, readable
from certrotd.config.modes import CertificateMode, KeyMode, Mode
from certrotd.config.probes import ProbeEntry
from certrotd.config.secrets import SecretRef

Keep = Annotated[int, Field(ge=1, le=1000)]
AccountNumber = Annotated[int, Field(ge=0, le=2**32 - 2)]


class HostEntry(Entry):
    """Another host, over SSH and SFTP."""

    address: SshAddress = Field(
        description="Where its SSH server is: a name or an IP address; port 22 unless it says "
        "otherwise."
    )
    user: Text = Field(description="The account to log in as.")
    known_hosts: AbsolutePath = Field(
        description="The file with its host key, or with the key of a CA of host keys, as of ssh. "
        "Any other key is refused; certrotd never adds one."
    )
    identity: SecretRef | None = Field(
        default=None, description="The private key to log in with, as of ssh-keygen."
    )
    passphrase: SecretRef | None = Field(
        default=None, description="The passphrase of identity (null: it has none)."
    )
    agent: AbsolutePath | None = Field(
        default=None, description="The socket of an SSH agent that has the key, besides identity."
    )
    password: SecretRef | None = Field(
        default=None, description="A password, for a server that takes no key."
    )
    timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="How long to connect may take, and each act there.",
    )

    def examine(self) -> EntryFindings:
        """The library is installed, and known_hosts can be read."""
        yield from library("asyncssh", ("address",), extra="ssh")
        yield from readable(self.known_hosts, ("known_hosts",))

    @model_validator(mode="after")
    def _way_in(self) -> Self:
        if self.identity is None and self.agent is None and self.password is None:
            raise refuse("needs identity, agent or password to log in with")
        if self.passphrase is not None and self.identity is None:
            raise refuse("passphrase is given, but identity is not")
        return self


class DeliverEntry(Entry):
    """The files of a certificate on another host."""

    host: SafeName = Field(description="Name of the host.")
    name: SafeName | None = Field(
        default=None,
        description="What the delivery is called in commands and metrics (null: the certificate's "
        "name, a dot and the host's).",
    )
    directory: AbsolutePath = Field(
        description="The directory there, which must exist: services read what is in live below it."
    )
    files: Annotated[
        Items[Literal["privkey", "cert", "chain", "fullchain", "combined"]], Field(min_length=1)
    ] = Field(
        default=("privkey", "fullchain"),
        description="Which files, each as NAME.pem: privkey, cert, chain, fullchain, combined "
        "(key and chain).",
    )
    owner: AccountNumber | None = Field(
        default=None,
        description="Owner of the files there, by number: SFTP knows no names (null: user's).",
    )
    group: AccountNumber | None = Field(
        default=None, description="Group of the files there, by number (null: user's)."
    )
    mode: KeyMode = Field(
        default=Mode(0o640), description="Mode of the files with the key; not for everybody."
    )
    cert_mode: CertificateMode = Field(
        default=Mode(0o644), description="Mode of the files that do not hold the key."
    )
    command: Argv | None = Field(
        default=None,
        description="The program to run there once the files are in place, over the same "
        "connection (null: none).",
    )
    command_timeout: Duration = Field(
        default=timedelta(minutes=1), description="How long the program may take."
    )
    probe: Items[ProbeEntry] = Field(
        default=(), description="Endpoints that must serve the new certificate after that."
    )
    keep: Keep = Field(default=3, description="How many earlier deliveries to keep there.")

    @property
    def folder(self) -> PurePosixPath:
        """The directory, as the other host has it."""
        return PurePosixPath(self.directory)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.files)) < len(self.files):
            raise refuse("files names one of them twice: keep one")
        return self


def delivery_name(certificate: str, entry: DeliverEntry) -> str:
    """What a delivery of that certificate is called."""
    return entry.name or f"{certificate}.{entry.host}"
