"""What every type of output has in the configuration: where it is, and whose it is."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, refuse
from certrotd.config.certificates import SystemAccount
from certrotd.config.cluster import ClusterEntry, SecretEntry, SecretName
from certrotd.config.looks import folder
from certrotd.config.modes import KeyMode, Mode


class SecretPlace(ClusterEntry):
    """An entry of a Secret in a Kubernetes cluster."""

    name: SecretName = Field(description="The name of the Secret.")
    key: SecretEntry = Field(
        description="The entry of the Secret that the application reads, such as keys.json."
    )

    @property
    def path(self) -> Path:
        """The entry as one of a file system would be called."""
        where = self.context or (self.kubeconfig.name if self.kubeconfig else None)
        first = f"secrets@{where}" if where else "secrets"
        return Path(first, self.namespace or "", self.name, self.key)


_OF_FILES = ("owner", "group", "mode", "in_place")


class BaseOutputEntry(Entry):
    """What every output has."""

    path: AbsolutePath | None = Field(
        default=None,
        description="The file that the application reads; needed unless secret is given.",
    )
    secret: SecretPlace | None = Field(
        default=None,
        description="In place of path: the entry of a Kubernetes Secret (null: a file).",
    )
    owner: SystemAccount | None = Field(
        default=None,
        description="Owner of the files: name or number (null: as the file has it, or else "
        "certrotd's own).",
    )
    group: SystemAccount | None = Field(
        default=None,
        description="Group of the files: name or number (null: as the file has it, or else "
        "certrotd's own).",
    )
    mode: KeyMode = Field(default=Mode(0o600), description="Mode of the files; not for everybody.")
    in_place: bool = Field(
        default=False,
        description="Write into the existing files instead of replacing them, for files that are "
        "bind-mounted one by one; a reader may see half a file.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.secret is None):
            raise refuse("needs either path (a file) or secret (an entry of a Secret)")
        if self.secret is not None:
            for name in _OF_FILES:
                if name in self.model_fields_set:
                    raise refuse(f"{name} belongs to path: an entry of a Secret has none")
        return self

    @property
    def place(self) -> Path:
        """What the application reads: the file, or the entry as if it were one."""
        if self.secret is not None:
            return self.secret.path
        assert self.path is not None, "it has one of both"
        return self.path

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and directories that it names; none of a Secret."""
        return () if self.path is None else (self.path,)

    @property
    def rooms(self) -> int | None:
        """How many keys the application holds, None for any number."""
        return None

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The keys that it holds, by their ``algorithm``; empty for any."""
        return ()

    def examine(self) -> EntryFindings:
        """Their directory is there."""
        if self.path is not None:
            yield from folder(self.path.parent, ("path",))
