"""What is looked at before a rotation spends or changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certrotd.certs.world import World
from certrotd.rotation.step import Done, Journaled, Ledger


@dataclass(frozen=True)
class PreflightStep(Journaled):
    """Everything that can fail without the CA fails here, before an order is spent.

    ``issuer`` and ``names`` are those of the order to come; empty when none will be placed.
    """

    issuer: str | None
    names: tuple[str, ...]
    solver: str | None
    targets: tuple[str, ...]
    kind = "preflight"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        world.store.check(world.name)
        check_ahead(world, self.targets)
        if self.issuer is not None:
            world.ready(self.issuer, self.names, self.solver)
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # it only looked


def check_ahead(world: World, targets: Sequence[str]) -> None:
    """What can be told of copies and targets without changing anything; raises Failure.

    Before the first certificate the targets are not asked: a service may be waiting for the very
    files its configuration names.
    """
    world.installer.check()
    if world.store.live(world.name) is None:
        return
    for name in targets:
        bound = world.target(name)
        if bound is not None:
            bound.target.check()
