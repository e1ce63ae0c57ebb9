"""What each wing's own subjects have for the runner: where they are kept, and their lock."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from certrotd.id import Id
from certrotd.state.ports import History, Journal, Lease


class Identified(Protocol):
    """A policy says of what it is."""

    @property
    def id(self) -> Id: ...


class Recorded(Protocol):
    """A subject whose rotations are recorded, one at a time."""

    @property
    def journal(self) -> Journal: ...

    @property
    def history(self) -> History: ...

    def lock(self) -> AbstractContextManager[Lease]:
        """The context in which nobody else works on it; raises LockHeld."""
        ...

    def configuration(self) -> str:
        """A digest of all of the configuration that its rotations go by."""
        ...


class Managed(Recorded, Protocol):
    """One subject of the configuration with what its rotation needs."""

    @property
    def policy(self) -> Identified: ...
