"""What is told of the deliveries to a host: what ends soon, and a host that stays away."""

from dataclasses import replace
from datetime import datetime

import pytest

from certrotd.deliveries.checks import AWAY, CHANGED, PASSING, expiry_of
from certrotd.lifecycle.finding import FILES, EarlierLooks, Finding, FindingSeverity, Watched
from certrotd.lifecycle.looked import Looked
from tests.unit.deliveries.examples import DAY, NOW, POLICY, delivered


@pytest.mark.parametrize(
    ("now", "kind", "severity"),
    [
        (NOW, None, None),
        (NOW + 46 * DAY, "expiring", FindingSeverity.WARNING),
        (NOW + 54 * DAY, "expiring", FindingSeverity.ERROR),
        (NOW + 60 * DAY, "expired", FindingSeverity.ERROR),
    ],
    ids=["long before", "a sixth of 90 days before", "a twelfth before", "at the end"],
)
def test_what_a_host_has_is_told_of_before_it_ends(
    now: datetime, kind: str | None, severity: FindingSeverity | None
) -> None:
    """By its own dates, whatever keeps a newer one away."""
    found = list(expiry_of(POLICY, delivered(), now=now))
    assert [(each.kind, each.severity) for each in found] == ([(kind, severity)] if kind else [])


def looked(kind: str, *, moving: bool = False) -> Looked:
    """A look that found that."""
    watched = Watched(FILES, "web.edge", NOW, findings=(Finding(kind, "words"),))
    return Looked(watched, moving, PASSING)


def test_a_host_is_told_to_be_away_once_it_was_twice_in_a_row() -> None:
    """A restart is no reason to wake anybody; a changed file is told of at once."""
    first = looked(AWAY).settle(EarlierLooks())
    assert (first.watched.findings, first.watched.unsure) == ((), True)
    second = looked(AWAY).settle(first.held)
    assert [each.kind for each in second.watched.findings] == [AWAY]
    assert looked(CHANGED).settle(EarlierLooks()).watched.findings


def test_during_a_delivery_what_was_told_before_stands() -> None:
    """What it moves says nothing."""
    earlier = EarlierLooks({CHANGED: 1}, (Finding(CHANGED, "before"),))
    settled = looked(AWAY, moving=True).settle(earlier)
    assert settled.watched.findings == earlier.told
    assert settled.held == earlier
    assert replace(settled.watched, findings=()).unsure
