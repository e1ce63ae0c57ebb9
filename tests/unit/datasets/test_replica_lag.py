"""How far replicas are behind, by what of the primary's log they lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.clock import ManualClock
from certrotd.datasets.replica_lag import Position, ReplicaLag
from certrotd.datasets.sql_replicas import gtid

CEILING = 2.0
NOW = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass
class Rig:
    """A primary at ``end`` and its replicas, looked at by a clock that a test moves."""

    end: int = 100
    at: dict[str, int] = field(default_factory=lambda: {"a": 100, "b": 100})
    clock: ManualClock = field(
        default_factory=lambda: ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
    )

    def written(self) -> Position:
        return {"": self.end}

    def applied(self) -> Mapping[str, Position]:
        return {name: {"": at} for name, at in self.at.items()}

    def step(self, lag: ReplicaLag, seconds: float = 0.5, **at: int) -> str | None:
        """Time passes, the primary writes, and some replicas have come so far."""
        self.clock.advance(timedelta(seconds=seconds))
        self.end += 10
        self.at |= at
        found = lag.excess(self.clock)
        return found.words if found is not None else None


def test_a_replica_that_stands_still_is_waited_for_until_it_has_everything() -> None:
    """Only once it lacks what was written longer ago than it may."""
    rig = Rig()
    lag = ReplicaLag(rig, CEILING)
    assert rig.step(lag, a=110, b=110) is None
    assert [rig.step(lag, a=rig.end + 10) for _ in range(5)] == [None] * 5
    assert rig.step(lag, a=rig.end + 10) == "the replica b is 2 s behind"
    assert rig.step(lag, b=130) == "the replica b is 2 s behind"  # still too little
    assert rig.step(lag, b=rig.end + 10, a=rig.end + 10) is None


def test_a_replica_that_is_always_a_little_behind_holds_nothing_up() -> None:
    """By less than it may be."""
    rig = Rig()
    lag = ReplicaLag(rig, CEILING)
    rig.step(lag, a=110, b=110)
    for _ in range(50):
        assert rig.step(lag, a=rig.end - 10, b=rig.end) is None
    assert len(lag._noted) <= 8


def test_before_anything_is_written_every_replica_has_to_have_come_so_far() -> None:
    """One that is broken gets no more to do with each try."""
    rig = Rig(at={"a": 100, "b": 40})
    lag = ReplicaLag(rig, CEILING)
    assert rig.step(lag, a=110) == "the replica b is 0 s behind"
    assert rig.step(lag, b=rig.end + 10, a=rig.end + 10) is None


def test_a_replica_that_is_gone_is_behind() -> None:
    """The primary no longer tells of one that is cut off."""
    rig = Rig()
    lag = ReplicaLag(rig, CEILING)
    rig.step(lag, a=110, b=110)
    del rig.at["b"]
    told = [rig.step(lag, a=rig.end + 10) for _ in range(6)]
    assert told[-1] == "the replica b is 2 s behind"


def test_they_are_not_looked_at_for_every_batch() -> None:
    """Eight times within what they may be behind."""
    rig = Rig()
    looked = []
    rig.written = lambda: looked.append(1) or {"": 0}  # type: ignore[func-returns-value, method-assign]
    lag = ReplicaLag(rig, CEILING)
    for _ in range(100):
        rig.step(lag, 0.02)
    assert len(looked) == pytest.approx(8, abs=1)


def test_a_stream_that_a_replica_does_not_have_is_lacking() -> None:
    """Of MariaDB's domains, each has a number of its own."""
    rig = Rig()
    rig.written = lambda: gtid("0-1-7,3-1-2")  # type: ignore[method-assign]
    lag = ReplicaLag(rig, CEILING)
    rig.applied = lambda: {"a": gtid("0-2-9")}  # type: ignore[method-assign]
    assert rig.step(lag) is not None
    rig.applied = lambda: {"a": gtid("0-2-9, 3-1-2")}  # type: ignore[method-assign]
    assert rig.step(lag) is None
