"""A target that shows what its application has is a consumer's acknowledgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from unittest.mock import patch

import pytest

from certrotd.consumers.port import Expected
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.states import State
from certrotd.keys.proof import Proof
from certrotd.keys.world import Consumer, World
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.fakes.keyrings import KeyBench
from tests.unit.keys.rings import Rings

DAY = timedelta(days=1)
KEY = "key/orders"


@dataclass
class Workload:
    """Proving: what its pods were restarted for, and each time that they were."""

    of: dict[str, str] = field(default_factory=dict)
    restarts: list[str] = field(default_factory=list)
    broken: bool = False
    away: bool = False
    checked: int = 0

    def check(self) -> None:
        """As Applied.check."""
        self.checked += 1

    def apply(self) -> None:
        """Nobody says for what."""
        raise AssertionError("it is told of what")

    def apply_of(self, hashes: Mapping[str, str]) -> None:
        """Not twice for the same."""
        if self.of == dict(hashes):
            return
        if self.broken:
            raise NeedsOperator("the new pod fails")
        self.restarts.append(hashes[KEY])
        self.of = dict(hashes)

    def revert_to(self, hashes: Mapping[str, str]) -> None:
        """It is as it was."""
        self.restarts.append(f"back to {hashes[KEY]}")
        self.of = dict(hashes)

    def lacks(self, hashes: Mapping[str, str]) -> str | None:
        """By what it was told."""
        if self.away:
            raise Transient("the API server is away")
        return None if self.of == dict(hashes) else "deployment/web was not restarted for them"


class Bench(KeyBench):
    """Whose only consumer has no other word than its target's."""

    def __post_init__(self) -> None:
        self.web = Workload()
        super().__post_init__()

    def world(self) -> World:
        """With that consumer."""
        consumer = Consumer("web", self.web, Proof(self.web))
        return replace(super().world(), consumers={"web": consumer})

    @property
    def hash(self) -> str:
        """That of the present keys."""
        return Delivery.of(self.world().keyring()).hash


@pytest.fixture
def bench() -> Bench:
    """With a first key."""
    bench = Bench()
    bench.with_policy(waves=(("web",),))
    assert isinstance(bench.rotate().outcome, Finished)
    return bench


def test_it_is_told_once_of_each_delivery(bench: Bench) -> None:
    """Of the first key, of the staged one, and that it encrypts."""
    first = bench.hash
    assert bench.web.restarts == [first]
    assert isinstance(bench.tick(90 * DAY).outcome, Finished)
    assert bench.web.restarts == [first, bench.web.restarts[1], bench.hash]
    assert len(set(bench.web.restarts)) == 3
    assert bench.web.of == {KEY: bench.hash}


def test_one_that_does_not_come_up_has_its_former_pods_back(bench: Bench) -> None:
    """Before the new key encrypts anything."""
    first = bench.hash
    bench.web.broken = True
    assert isinstance(bench.tick(90 * DAY).outcome, RolledBack)
    assert bench.states() == {1: State.ACTIVE, 2: State.PRE_ACTIVE}
    assert bench.web.restarts == [first, f"back to {first}"]


def test_one_that_lost_its_restart_holds_the_activation(bench: Bench) -> None:
    """Somebody has put its template back: it is not known what its pods have."""

    def lost() -> None:
        event = bench.events[-1]
        if event.what == "done" and event.item == "apply":
            bench.web.of = {}

    bench.watch = lost
    report = bench.tick(90 * DAY)
    assert isinstance(report.outcome, Parked)
    assert "web, which does not have the present keys: deployment/web was" in report.outcome.why
    assert bench.states() == {1: State.ACTIVE, 2: State.SECONDARY}


def test_one_that_cannot_be_asked_has_not_acknowledged() -> None:
    """Though it may have the keys."""
    web = Workload(of={KEY: "aa"})
    assert Proof(web).ask(Expected("orders", "aa", {})).acknowledged
    assert not Proof(web).ask(Expected("orders", "bb", {})).acknowledged
    web.away = True
    answer = Proof(web).ask(Expected("orders", "aa", {}))
    assert (answer.acknowledged, answer.words) == (False, "cannot be asked: the API server is away")


def test_it_is_looked_at_once_there_are_keys(rings: Rings) -> None:
    """Before that its pods may wait for them."""
    rings.config["targets"] = {"web": {"type": "kubernetes", "workloads": ["deployment/web"]}}
    rings.orders["consumers"] = {"web": {"target": "web"}}
    web = Workload()
    with patch("certrotd.targets.kubernetes.build", lambda _entry, _context: web):
        rings.done()
        assert web.checked == 0
        with rings.keyring() as keyring:
            consumer = keyring.world().consumers["web"]
            assert consumer.acknowledgement == Proof(web)
        rings.clock.advance(timedelta(days=90))
        rings.done()
    assert web.checked == 1
    assert len(web.restarts) == 3
