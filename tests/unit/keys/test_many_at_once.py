"""Many keyrings are rotated at once: none of them is in the way of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import NeedsOperator
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.states import State
from certrotd.keys.world import TRIES
from certrotd.lifecycle.decision import DAEMON
from certrotd.state.ports import Conflict
from tests.fakes.keyrings import KeyBench
from tests.unit.keys.rings import FORCED, Rings

NAMES = [f"k{number}" for number in range(24)]


def test_first_keys_and_rotations_of_many_keyrings_at_once_all_succeed(tmp_path: Path) -> None:
    """One KEK is made for all of them, and every document is written though they share a folder."""
    rings = Rings(tmp_path, {name: {} for name in NAMES})
    rings.config["concurrency"] = 12
    rings.clock = SystemClock()  # type: ignore[assignment]
    for asked, states in (
        (DAEMON, {1: State.ACTIVE}),
        (FORCED, {1: State.DECRYPT_ONLY, 2: State.ACTIVE}),
    ):
        with rings.site() as site:
            runner = site.runner(lambda _event: None, lambda: False)
            reports = list(site.inventory.rotate(list(site.inventory.subjects), runner, asked))
        assert [str(each.last) for each in reports if each.failed] == []
        assert {name: rings.states(name) for name in NAMES} == dict.fromkeys(NAMES, states)


def test_a_conflict_that_lasts_ends_in_it() -> None:
    """A keyring that another process made meanwhile is not made again."""
    bench = KeyBench()
    bench.rotate()
    world, tries = bench.world(), []
    keyring = world.keyring()
    fenced = replace(world, fence=lambda: tries.append(1))
    with pytest.raises(Conflict):
        fenced.create(lambda: keyring)
    assert len(tries) == TRIES


def test_what_makes_a_keyring_is_asked_once() -> None:
    """A key that was drawn is the key that is written."""
    bench = KeyBench()

    def refuse() -> Keyring:
        raise NeedsOperator("no")

    with pytest.raises(NeedsOperator, match="no"):
        bench.world().create(refuse)
    with pytest.raises(NeedsOperator, match="the keyring orders has no key yet"):
        bench.world().found()
