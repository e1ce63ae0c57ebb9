"""The only step of a deletion: what certrotd keeps of a certificate is removed."""

from __future__ import annotations

from dataclasses import dataclass

from certrotd.certs.decision import Delete
from certrotd.certs.world import World
from certrotd.rotation.step import Done, Journaled, Ledger, Savepoint

DELETED = Savepoint("deleted by hand", forward_only=True)


@dataclass(frozen=True)
class Remove(Journaled):
    """Everything that the store has of a certificate, and what its copies replaced: old keys.

    It is not undone.
    """

    kind = Delete.act

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        world.fence()
        world.installer.sweep()
        world.store.remove(world.name)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # forward only; the engine never comes here
