"""A managed certificate whose parts are a test's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from certrotd.certs.policy import Policy
from certrotd.certs.world import World
from certrotd.pki.generation import Generation, Standing
from certrotd.state.journal import FileJournal


@dataclass(frozen=True)
class FakeManaged:
    """The Managed port."""

    policy: Policy
    journal: FileJournal
    world: Callable[[], World]
    lock: Callable[[], AbstractContextManager[None]]
    look: Callable[..., Standing]
    generation: Callable[[int], Generation]
    configuration: Callable[[], str] = lambda: "configured"
