"""Datasets of type kubernetes: objects of a cluster, which its API servers encrypt in etcd."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, Items, Text, refuse, shown
from certrotd.config.cluster import ClusterAccessEntry, Namespace
from certrotd.config.file_datasets import Contains
from certrotd.config.looks import readable

_RESOURCE = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?\Z", re.ASCII)
_LOCAL = ("localhost", "127.0.0.1", "::1")


def _resource(value: str) -> str:
    if _RESOURCE.match(value) and len(value) <= 253:
        return value
    raise refuse(
        f"must be as EncryptionConfiguration names it, such as secrets or widgets.example.com, got "
        f"{shown(value)}"
    )


def _etcd(value: str) -> str:
    parts = urlsplit(value)
    plain = parts.scheme == "http" and parts.hostname in _LOCAL
    if (parts.scheme == "https" or plain) and parts.hostname and parts.path in ("", "/"):
        return value.rstrip("/")
    raise refuse(
        "must be an address such as https://127.0.0.1:2379 (http only on this machine), got "
        f"{shown(value)}"
    )


Resource = Annotated[Text, AfterValidator(_resource)]


class EtcdEntry(Entry):
    """An etcd that a census reads, as the only proof that the API server has no part in."""

    endpoint: Annotated[Text, AfterValidator(_etcd)] = Field(
        description="The client address of one member, as in https://127.0.0.1:2379."
    )
    ca: AbsolutePath | None = Field(
        default=None, description="Roots for its certificate (null: the system's)."
    )
    cert: AbsolutePath | None = Field(
        default=None, description="A client certificate that etcd trusts (null: none)."
    )
    key: AbsolutePath | None = Field(default=None, description="Its private key (null: none).")
    prefix: Text = Field(default="/registry", description="What API servers call --etcd-prefix.")

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if (self.cert is None) is not (self.key is None):
            raise refuse("cert and key belong together: give both, or none")
        return self

    def examine(self) -> EntryFindings:
        """Whether the files can be read; etcd is not asked."""
        for name in ("ca", "cert", "key"):
            yield from readable(getattr(self, name), (name,))


class KubernetesDatasetEntry(ClusterAccessEntry):
    """Objects of a cluster, each of which an API server writes anew under its first key."""

    type: Literal["kubernetes"] = Field(
        description="Objects of a Kubernetes cluster, which its API servers encrypt in etcd."
    )
    resources: Annotated[Items[Resource], Field(min_length=1, max_length=100)] = Field(
        default=("secrets",),
        description="Their kinds, as EncryptionConfiguration names them: secrets, configmaps, "
        "widgets.example.com.",
    )
    namespaces: Annotated[Items[Namespace], Field(max_length=1000)] = Field(
        default=(), description="Only those in these namespaces (none: in all)."
    )
    etcd: EtcdEntry | None = Field(
        default=None,
        description="An etcd whose stored values the census reads (null: it goes by the API "
        "server's answers).",
    )
    objects_per_second: int = Field(
        default=50, ge=1, le=10_000, description="It goes no faster: each is a request."
    )
    may_be_empty: bool = Field(
        default=False, description="Whether a census of no object at all may be believed."
    )
    contains: Contains = ()

    def examine(self) -> EntryFindings:
        """As of any entry about a cluster, and of its etcd."""
        yield from super().examine()
        if self.etcd is not None:
            for loc, finding in self.etcd.examine():
                yield ("etcd", *loc), finding
