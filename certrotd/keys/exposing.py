"""The step that notes what a key protects at the moment when others are known to know it."""

from __future__ import annotations

from dataclasses import dataclass

from certrotd.audit.record import Happened
from certrotd.keys.policy import id_of
from certrotd.keys.world import World
from certrotd.rotation.step import Done, Journaled, Ledger

EVENT = "keyring.exposure_counted"
"""The event of the audit log."""


@dataclass(frozen=True)
class NoteExposure(Journaled):
    """Count what is stored under a version before it is re-encrypted; what fails is noted, too."""

    version: int
    kind = "note-exposure"
    can_kill = False

    def do(self, world: World, ledger: Ledger) -> Done:
        shown = world.expose(self.version)
        world.fence()
        world.record(Happened(EVENT, str(id_of(world.name)), ledger.rotation, shown))
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only counted
