"""Versions of a keyring in every state, and what is shown of them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certrotd.keyring.evidence import (
    Count,
    Evidence,
    Freshness,
)
from certrotd.keyring.states import (
    Versions,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FRESH = Freshness(census=DAY, drill=30 * DAY, rehearsal=30 * DAY)


def proof(now: datetime = NOW, left: int = 0) -> Evidence:
    """Evidence that shows everything, but for ``left`` ciphertexts."""
    return Evidence(
        datasets=frozenset({"users"}),
        census={"users": Count(left, now)},
        drains={"cookies": now - DAY},
        drilled=now - DAY,
        rehearsed=now - DAY,
    )


def first(at: datetime = NOW) -> Versions:
    """A keyring whose version 1 is active."""
    return activated(Versions(), at)


def activated(ring: Versions, at: datetime = NOW) -> Versions:
    """The keyring after one more key was generated, distributed and activated."""
    number = ring.next_number
    ring = ring.generate(at=at, why="due").distribute(number, at=at, why="given")
    return ring.activate(number, at=at, why="acknowledged")


def states(ring: Versions) -> list[str]:
    return [each.state.value for each in ring.all]


def disabled(at: datetime = NOW) -> Versions:
    """A keyring whose version 1 is disabled and version 2 active."""
    ring = activated(first(at), at).retire(1, at=at, why="census 0")
    return ring.disable(1, at=at, why="grace is over")
