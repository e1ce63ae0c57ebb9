"""One certificate of the configuration, and what its history says: all that a listing needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certrotd.certs.policy import Attempts, Policy
from certrotd.pki.generation import Generation, Standing
from certrotd.rotation.journal import FileJournal

if TYPE_CHECKING:  # looking at certificates needs none of the libraries that rotating them does
    from certrotd.certs.world import World


@dataclass(frozen=True)
class Managed:
    """One certificate of the configuration with what its rotation needs.

    ``lock`` gives the context in which nobody else works on it; ``world`` builds the adapters for
    one rotation; ``look`` and ``generation`` read the store alone.
    """

    policy: Policy
    journal: FileJournal
    world: Callable[[], World]
    lock: Callable[[], AbstractContextManager[None]]
    look: Callable[[], Standing]
    generation: Callable[[int], Generation]


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
