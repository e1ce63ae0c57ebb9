"""What is looked at before a rotation spends or changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certrotd.certs.ports import Precheck
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

    Before the first certificate the targets are only made ready: their secrets are read and their
    programs looked for. They are not asked: a service may be waiting for the very files its
    configuration names.
    """
    world.installer.check()
    bound = [each for each in map(world.target, targets) if each is not None]
    if world.store.live(world.name) is not None:
        for each in bound:
            each.target.check()
        return
    for each in bound:
        if isinstance(each.target, Precheck):
            each.target.precheck()
