"""Where state lives besides a directory."""

from typing import Literal

from pydantic import Field

from certrotd.config.cluster import ClusterEntry, Instance


class KubernetesStateEntry(ClusterEntry):
    """Secrets, Leases and a ConfigMap of a namespace."""

    type: Literal["kubernetes"] = Field(
        description="Journals, histories, locks and documents in a namespace of a cluster."
    )
    instance: Instance = Field(
        default="certrotd",
        description="What the names of its objects begin with; each installation has its own.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=32,
        description="How many daemons are at work at once, each on a part of what is managed.",
    )
