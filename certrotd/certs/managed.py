"""One certificate of the configuration, and what its history says: all that a listing needs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from certrotd.certs.policy import Attempts, Policy
from certrotd.pki.generation import Generation, Standing
from certrotd.rotation.journal import FileJournal

if TYPE_CHECKING:  # looking at certificates needs none of the libraries that rotating them does
    from certrotd.certs.world import World


class Managed(Protocol):
    """One certificate of the configuration with what its rotation needs."""

    @property
    def policy(self) -> Policy: ...

    @property
    def journal(self) -> FileJournal: ...

    def world(self) -> World:
        """The adapters for one rotation."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """The context in which nobody else works on it; raises LockHeld."""
        ...

    def look(self) -> Standing:
        """What the store has of it."""
        ...

    def generation(self, number: int, /) -> Generation:
        """One of its generations, as the store has it."""
        ...


def attempts_of(journal: FileJournal) -> Attempts:
    """What the newest line of history says of the last attempts."""
    last = journal.history.last()
    if last is None:
        return Attempts()
    left = last["facts"].get("left") or ()
    if not last["failures"]:
        return Attempts(left=tuple(left))
    seconds = last["retry_after"]
    return Attempts(
        failures=int(last["failures"]),
        at=datetime.fromisoformat(last["ended"]),
        why=str(last["failure"]),
        retry_after=timedelta(seconds=seconds) if seconds else None,
        left=tuple(left),
    )
