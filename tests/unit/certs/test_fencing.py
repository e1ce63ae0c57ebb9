"""What a rotation acts upon is out of reach once its lock is another's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from certrotd.certs.rotate import fenced
from certrotd.certs.world import Bound
from certrotd.state.ports import Fenced
from tests.model import scenarios


class Told:
    """A target that is told in one act."""

    def check(self) -> None:
        """It can be told."""

    def apply(self) -> None:
        """It is told."""


class Waves(Told):
    """One that looks between its acts."""

    between: Callable[[], None]

    def fenced(self, check: Callable[[], None]) -> Waves:
        found = Waves()
        found.between = check
        return found


def lost() -> None:
    """The lock is another's."""
    raise Fenced("another process has it")


def test_targets_that_can_look_between_their_acts_are_given_the_lock() -> None:
    """Others are as they were, and one that the configuration lacks stays away."""
    bound = {"waves": Bound(Waves(), ()), "told": Bound(Told(), ())}
    world = replace(scenarios.ALL["renewal"]().world.managed().world(), target=bound.get)
    guarded = fenced(world, lost)
    waves = guarded.target("waves")
    assert waves is not None
    assert isinstance(waves.target, Waves)
    with pytest.raises(Fenced):
        waves.target.between()
    assert guarded.target("told") is bound["told"]
    assert guarded.target("none") is None
