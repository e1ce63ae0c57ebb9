"""Where state lives besides a directory."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from certrotd.config.base import AbsolutePath, Entry, EntryFindings, refuse, shown
from certrotd.config.looks import readable

MAX_LABEL = 63


def _label(value: str) -> str:
    plain = value.isascii() and value.replace("-", "").isalnum() and value == value.lower()
    if not plain or value[0] == "-" or value[-1] == "-" or len(value) > MAX_LABEL:
        raise refuse(
            f"must be lower-case letters, digits and '-', at most {MAX_LABEL}, got {shown(value)}"
        )
    return value


DnsLabel = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_label)]


class KubernetesStateEntry(Entry):
    """Secrets, Leases and a ConfigMap of a namespace."""

    type: Literal["kubernetes"] = Field(
        description="Journals, histories, locks and documents in a namespace of a cluster."
    )
    namespace: DnsLabel | None = Field(
        default=None, description="The namespace (null: the account's own)."
    )
    instance: DnsLabel = Field(
        default="certrotd",
        description="What the names of its objects begin with; each installation has its own.",
    )
    kubeconfig: AbsolutePath | None = Field(
        default=None,
        description="How to reach the cluster (null: as a pod, by its account).",
    )

    def examine(self) -> EntryFindings:
        """The kubeconfig can be read."""
        if self.kubeconfig is not None:
            yield from readable(self.kubeconfig, ("kubeconfig",))
