"""The order of the steps: waves after one another, each proven before the next is told."""

from datetime import UTC, datetime

from certrotd.certs.plan import deployment, rollback
from certrotd.certs.policy import Policy
from certrotd.pki.generation import Standing
from certrotd.rotation.step import Savepoint

POLICY = Policy(
    name="web",
    names=("example.test",),
    issuer="ca",
    authority="memory://ca",
    installs=True,
    waves=(("edge", "mail"), ("core",)),
)
EMPTY = Standing()
WAVES = [
    "baseline",
    "swap",
    "install",
    "apply edge",
    "apply mail",
    "prove edge",
    "prove mail",
    "apply core",
    "prove core",
    "record",
    "committed",
    "prune",
]


def told(items: object) -> list[str]:
    """The steps of a plan in words."""
    assert isinstance(items, tuple)
    return [
        item.name
        if isinstance(item, Savepoint)
        else f"{item.kind} {getattr(item, 'target', '')}".strip()
        for item in items
    ]


def test_a_wave_reloads_when_the_one_before_is_proven() -> None:
    """And nothing is told before the files are in their places."""
    plan = deployment(POLICY, EMPTY, 2, rotation="r")
    assert told(plan) == ["preflight", "issued", *WAVES]


def test_a_rollback_by_hand_goes_in_waves_too() -> None:
    """It is a rotation like any other, and its targets are asked first."""
    plan = rollback(POLICY, EMPTY, 1, rotation="r", held=datetime(2026, 6, 1, tzinfo=UTC))
    assert told(plan) == ["preflight", "issued", *WAVES]
