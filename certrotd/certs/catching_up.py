"""Bringing those up to date that run with an older copy, and finding out who does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from certrotd.certs.deploy import bound_of
from certrotd.certs.managed import Managed
from certrotd.certs.trailing import Trailing
from certrotd.certs.world import World
from certrotd.errors import Failure, ProofFailed
from certrotd.pki.generation import Behind
from certrotd.rotation.step import Done, Journaled, Ledger


@dataclass(frozen=True)
class BringUp(Journaled):
    """Those ``names`` of a target told of what is live, and seen to have it then.

    After a crash all of them are told again: one may have the files and not know it.
    """

    target: str
    names: tuple[str, ...]
    kind = "bring_up"

    def do(self, world: World, ledger: Ledger) -> Done:  # noqa: ARG002
        target = bound_of(world, self.target).target
        world.fence()
        if isinstance(target, Trailing):
            target.catch_up(self.names)
            for each in target.behind():
                if each.name in self.names:
                    raise ProofFailed(f"{each.name} of {self.target} still {each.why}")
        return Done()

    def undo(self, world: World, ledger: Ledger) -> None:
        pass  # what it had before was older than what is live


@dataclass(frozen=True)
class Survey:
    """Who has an older copy, by target, and the targets that could not be asked."""

    behind: Mapping[str, tuple[Behind, ...]] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)

    @property
    def some(self) -> bool:
        """Whether a rotation would bring somebody up to date."""
        return any(not each.todo for found in self.behind.values() for each in found)


def survey(managed: Managed) -> Survey:
    """Ask the targets that the live generation has reached; raises as Managed.look().

    What they say is noted for the decisions to come.
    """
    policy = managed.policy
    if not policy.trailing:
        return Survey()
    standing, world = managed.look(), managed.world()
    behind: dict[str, tuple[Behind, ...]] = {}
    failures: dict[str, Failure] = {}
    for name in policy.trailing:
        if not standing.reached(name):
            continue  # to be told as a whole
        try:
            target = bound_of(world, name).target
            if isinstance(target, Trailing) and (found := tuple(target.behind())):
                behind[name] = found
        except Failure as failure:
            failures[name] = failure
    world.note_behind(behind)
    return Survey(behind, failures)
