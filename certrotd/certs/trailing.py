"""What targets can do of which parts come and go, as small Protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from certrotd.pki.generation import Behind, LiveCertificate


@runtime_checkable
class Trailing(Protocol):
    """A target of which parts come and go, so that one may run with an older copy."""

    def behind(self) -> Sequence[Behind]:
        """Those that do, as far as anything shows it; raises Failure."""
        ...

    def catch_up(self, names: Sequence[str]) -> None:
        """Bring these up to date, those that still run; repeatable, raises Failure."""
        ...


@runtime_checkable
class InformedTrailing(Protocol):
    """The same of one that is told which certificates it is told for."""

    def behind_for(self, certificates: Sequence[LiveCertificate]) -> Sequence[Behind]:
        """As Trailing.behind."""
        ...

    def catch_up_for(self, certificates: Sequence[LiveCertificate], names: Sequence[str]) -> None:
        """As Trailing.catch_up."""
        ...


@runtime_checkable
class Announcing(Protocol):
    """A target that hears when a part of it starts, from a ``source`` that others may share."""

    @property
    def source(self) -> str: ...

    def starts(self) -> Iterator[str]:
        """The names of what starts, without end; empty ones when it listens, and now and then.

        Raises Failure where it cannot, or no longer.
        """
        ...
