"""What every type of target has in the configuration."""

from collections.abc import Sequence

from pydantic import Field

from certrotd.config.base import Entry, Items
from certrotd.config.probes import OwnProbeEntry, ProbeEntry

TARGET_WAIT = 120.0


class BaseTargetEntry(Entry):
    """What every target has."""

    wave: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Targets of a lower wave are reloaded and proven before those of a higher one.",
    )
    probe: Items[ProbeEntry] = Field(
        default=(), description="Endpoints that must serve the new certificate after the reload."
    )

    @property
    def lock_wait(self) -> float:
        """For how many seconds a rotation waits while the target is told for another one."""
        return TARGET_WAIT

    @property
    def own_probes(self) -> Sequence[OwnProbeEntry]:
        """Where it proves the certificate itself, at addresses that only it knows."""
        return ()

    @property
    def trails(self) -> bool:
        """Whether what it tells comes and goes, so that something may have an older copy."""
        return False

    @property
    def keyless(self) -> bool:
        """Whether it may tell a service whose key is elsewhere, as it reads no key itself."""
        return False

    @property
    def programs(self) -> bool:
        """Whether it runs programs on this host to look at, or to tell, what serves."""
        return True
