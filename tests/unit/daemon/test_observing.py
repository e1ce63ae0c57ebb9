"""What people are told, once, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.certs.decision import Wait
from certrotd.certs.rotate import Report
from certrotd.daemon.budget import Over
from certrotd.daemon.clockwatch import SOUND, Judgement, Trust
from certrotd.daemon.observing import Lines, event_words
from certrotd.errors import Failure, LockHeld
from certrotd.rotation.engine import Event, Finished, Outcome, Parked, RolledBack, Stuck

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Finished({}), "done"),
        (Parked(NOW, "a grace period"), "waits after 2026-06-01 00:00:00Z: a grace period"),
        (
            Parked(NOW, "the disk is full", failed=True),
            "failed, and is tried again after 2026-06-01 00:00:00Z: the disk is full",
        ),
        (RolledBack("", "order", "no"), "failed: order: no; nothing was changed"),
        (RolledBack("issued", "prove", "old"), "failed: prove: old; rolled back to issued"),
        (Stuck("swap", "why", "why not"), "stuck: undoing swap failed: why not; after: why"),
    ],
)
def test_every_outcome_has_its_sentence(outcome: Outcome, expected: str) -> None:
    """The log is what is read at night."""
    said: list[str] = []
    Lines(said.append).ended(Report("web", recovered=outcome))
    assert said == [f"web: {expected}"]


def test_a_failure_is_told_as_one_and_a_lock_is_not() -> None:
    """Who greps for failures must not find a colleague at work."""
    said: list[str] = []
    lines = Lines(said.append)
    lines.ended(Report("web", failure=Failure("it broke")))
    lines.ended(Report("web", failure=LockHeld("certificate web", holder="process 1")))
    assert said[0] == "web: failed: it broke"
    assert "failed" not in said[1]


def test_the_same_trouble_is_told_once_until_it_has_passed() -> None:
    """A disk that is full all night is one line."""
    said: list[str] = []
    lines = Lines(said.append)
    for _ in range(3):
        lines.trouble("web", Failure("the disk is full"))
    assert said == ["web: the disk is full"]
    lines.ended(Report("web", outcome=Finished({})))
    lines.trouble("web", Failure("the disk is full"))
    assert said[-1] == said[0]
    assert len(said) == 3


def test_the_clock_is_told_with_what_follows_and_once() -> None:
    """An operator has to know why nothing is renewed, and what to do."""
    said: list[str] = []
    lines = Lines(said.append)
    for _ in range(2):
        lines.clock(Judgement(Trust.WRONG, "the clock shows 1970"), None)
    lines.clock(SOUND, timedelta(days=-1))
    assert said[0].startswith("the clock shows 1970: nothing is ordered until it is right")
    assert said[1:] == ["the clock jumped by -86400 s: everything is looked at again"]


def test_an_order_that_waits_says_for_what() -> None:
    """A name that is missing for a week needs an explanation."""
    said: list[str] = []
    lines = Lines(said.append)
    lines.postponed("web", Over("orders", NOW, "orders of the account: 2 in 1 hours"))
    lines.began("web", "there is none yet")
    assert said == [
        "web: waits until 2026-06-01 00:00:00Z for orders of the account: 2 in 1 hours",
        "web: begun: there is none yet",
    ]


def test_what_happens_every_second_is_not_told() -> None:
    """A log that nobody can read is none."""
    said: list[str] = []
    lines = Lines(said.append)
    lines.ticked(NOW, 1)
    lines.decided("web", Wait("not yet", NOW))
    assert said == []


def test_steps_are_told_when_they_came_to_something() -> None:
    """That one is being tried is for a progress bar."""
    event = Event("id", "web", "failed", 3, 9, "order", "the CA says no")
    assert event_words(event) == "web: order failed: the CA says no"
    assert event_words(Event("id", "web", "trying", 3, 9, "order")) is None
