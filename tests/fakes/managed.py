"""A managed certificate whose parts are a test's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certrotd.certs.limits.sliding_windows import Over
from certrotd.certs.policy import Policy
from certrotd.certs.world import World
from certrotd.lifecycle.subject import DeletionForeseen
from certrotd.pki.generation import Generation, Standing
from certrotd.state.ports import History, Lease


@dataclass(frozen=True)
class FakeManaged:
    """The Managed port."""

    policy: Policy
    journal: Any
    world: Callable[[], World]
    lock: Callable[[], AbstractContextManager[Lease]]
    look: Callable[..., Standing]
    generation: Callable[[int], Generation]
    configuration: Callable[[], str] = lambda: "configured"
    over: Callable[[], Mapping[str, datetime]] = dict
    claim: Callable[..., Over | None] = lambda *_, **__: None
    deletion: Callable[[], DeletionForeseen] = lambda: DeletionForeseen(None, (), ())

    @property
    def history(self) -> History:
        found: History = self.journal.history
        return found
