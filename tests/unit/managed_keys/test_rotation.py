"""A managed key is rotated once, whatever becomes of the process and of the service's answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.errors import NeedsOperator, Transient
from certrotd.kek.managed.port import KeyVersion
from certrotd.kek.port import KekUnavailable
from certrotd.lifecycle.decision import Asked, Postpone, Wait
from certrotd.lifecycle.view import View
from certrotd.managed_keys.decision import Look, Rotate, SetPeriod
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.fakes.managed_keys import BEGIN, Bench, Killed

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
FORCED = Asked(forced=True, by_hand=True, named=True)


@pytest.fixture
def bench() -> Bench:
    """A key that was looked at."""
    bench = Bench()
    assert isinstance(bench.rotate().outcome, Finished)
    return bench


def test_a_key_is_looked_at_before_anything_else(bench: Bench) -> None:
    """And the look is in the audit log, for it is the first that certrotd knows of the key."""
    assert bench.found.seen is not None
    assert bench.found.seen.state == bench.key.state
    assert bench.audit.events == ["rotation.began", "rotation.finished"]
    assert isinstance(bench.rotate().decision, Wait)


def test_a_look_asks_no_service(bench: Bench) -> None:
    """A listing works while the service is away."""
    bench.key.away = AssertionError("it is asked")
    bench.clock.advance(90 * DAY)
    assert isinstance(bench.found.decision, Look)
    assert bench.found.steps() == ["look"]
    assert list(bench.found.problems(bench.found.decision, None)) == []


def test_a_key_is_rotated_when_a_tenth_of_its_cryptoperiod_is_left(bench: Bench) -> None:
    """By one step, after a look at how it is now; the next look needs no service."""
    report = bench.tick(82 * DAY)
    assert isinstance(report.outcome, Finished)
    assert isinstance(report.decision, Rotate)
    assert bench.key.rotated == 1
    assert bench.found.seen is not None
    assert bench.found.seen.state.present.id == "2"
    line = bench.history.last()
    assert line is not None
    assert line["facts"]["version"] == "2"
    assert isinstance(bench.rotate().decision, Wait)


def test_a_forced_rotation_of_a_key_that_nobody_saw_looks_and_rotates() -> None:
    """A person does not ask twice."""
    bench = Bench()
    report = bench.rotate(FORCED)
    assert isinstance(report.decision, Rotate)
    assert bench.key.rotated == 1
    assert bench.audit.events.count("rotation.finished") == 2


def test_a_rotation_that_somebody_else_has_done_is_not_begun(bench: Bench) -> None:
    """The service rotated it since the last look."""
    bench.tick(81 * DAY)  # a look
    bench.clock.advance(timedelta(hours=22))
    assert isinstance(bench.found.decision, Rotate)
    bench.key.appear()
    assert isinstance(bench.rotate().decision, Wait)
    assert bench.key.rotated == 0


def test_a_crash_between_the_rotation_and_its_record_rotates_once(bench: Bench) -> None:
    """The step is done again, and finds another version than it was begun for."""
    bench.clock.advance(82 * DAY)
    bench.key.lost = Killed()
    with pytest.raises(Killed):
        bench.rotate()
    assert bench.key.rotated == 1
    report = bench.rotate()
    assert isinstance(report.recovered, Finished)
    assert bench.key.rotated == 1
    assert bench.found.seen is not None
    assert bench.found.seen.state.present.id == "2"


def test_a_crash_after_the_service_answered_rotates_once_though_it_shows_nothing_yet(
    bench: Bench,
) -> None:
    """AWS takes a while; the journal knows that it was asked."""
    bench.key.slow = True
    report = bench.tick(82 * DAY)
    assert isinstance(report.outcome, Parked)
    assert "waits for its service to make the version" in report.outcome.why
    for _ in range(5):
        assert isinstance(bench.tick(MINUTE).recovered, Parked)
    assert bench.key.rotated == 1
    bench.key.appear()
    assert isinstance(bench.tick(MINUTE).recovered, Finished)
    assert bench.key.rotated == 1


def test_a_rotation_whose_answer_is_lost_is_not_repeated(bench: Bench) -> None:
    """It counts as failed, and the next attempt sees that it is done."""
    bench.key.lost = KekUnavailable("the key does not answer")
    report = bench.tick(82 * DAY)
    assert isinstance(report.outcome, RolledBack)
    assert "the next look tells what it has done" in report.outcome.left
    assert isinstance(bench.found.decision, Postpone)
    assert isinstance(bench.tick(MINUTE).decision, Wait)
    assert bench.key.rotated == 1


def test_a_service_that_is_away_is_asked_again_later(bench: Bench) -> None:
    """With the pauses that failures get, and its outage is known to whoever gathers those."""
    bench.key.away = KekUnavailable("the key does not answer", retry_after=timedelta(minutes=5))
    report = bench.tick(82 * DAY)
    assert isinstance(report.outcome, RolledBack)
    assert any(isinstance(each, Transient) for each in bench.heard)
    assert bench.found.failures == 1
    assert bench.found.failed_at == bench.clock.now()
    assert "does not answer" in bench.found.failure
    assert isinstance(bench.tick(4 * MINUTE).decision, Postpone)
    bench.key.away = None
    assert isinstance(bench.tick(MINUTE).outcome, Finished)
    assert bench.heard[-1] is None
    assert bench.key.rotated == 1


def test_a_configuration_that_was_mended_is_tried_at_once(bench: Bench) -> None:
    """As after another login."""
    bench.key.away = NeedsOperator("it refuses")
    bench.tick(82 * DAY)
    bench.key.away = None
    assert isinstance(bench.rotate().decision, Postpone)
    bench.configured = "two"
    assert isinstance(bench.rotate().outcome, Finished)


def test_rotations_that_are_used_up_are_not_asked_for(bench: Bench) -> None:
    """AWS counts 25."""
    bench.key.state = replace(bench.key.state, rotations_left=0)
    report = bench.tick(90 * DAY)
    assert report.decision is not None
    assert report.decision.code == "stale"  # which shows it
    report = bench.rotate()
    assert report.decision is not None
    assert report.decision.code == "used_up"
    assert bench.found.remark == "0 rotations on demand are left"


def test_a_rotation_in_flight_is_not_done_to_another_key(bench: Bench) -> None:
    """Version 1 of that one is another thing than version 1 of this one."""
    bench.clock.advance(82 * DAY)
    bench.key.lost = Killed()
    with pytest.raises(Killed):
        bench.rotate()
    bench.policy = replace(bench.policy, key="another")
    report = bench.rotate()
    assert isinstance(report.recovered, RolledBack)
    assert "names another key" in report.recovered.because
    assert bench.key.rotated == 1


def test_a_period_is_set_once(bench: Bench) -> None:
    """And the service rotates from then on."""
    bench.policy = replace(bench.policy, by_service=True)
    assert isinstance(bench.rotate().decision, SetPeriod)
    assert bench.key.state.period == 91 * DAY
    assert isinstance(bench.rotate().decision, Wait)
    assert bench.found.renewal == (BEGIN + 91 * DAY, "its service rotates it by itself")


def test_a_period_that_is_not_shown_has_failed(bench: Bench) -> None:
    """A service that only seems to take it would be asked for ever."""
    bench.policy, bench.key.deaf = replace(bench.policy, by_service=True), True
    report = bench.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert "does not show it" in report.outcome.because
    assert isinstance(bench.rotate().decision, Postpone)


def test_a_look_that_fails_is_followed_by_nothing() -> None:
    """What is not known is not rotated, not even by force."""
    bench = Bench()
    bench.key.away = KekUnavailable("the key does not answer")
    report = bench.rotate(FORCED)
    assert isinstance(report.outcome, RolledBack)
    assert report.outcome.left == "nothing was changed"
    assert bench.found.seen is None


def test_a_rotation_that_waits_is_cancelled_and_says_that_nothing_is_undone(bench: Bench) -> None:
    """No service takes a version back; and it is no failure."""
    bench.key.slow = True
    bench.tick(82 * DAY)
    report = bench.subject.cancel(bench.runner)
    assert isinstance(report.recovered, RolledBack)
    assert "nothing at the service is undone" in report.recovered.left
    assert bench.found.failures == 0


def test_a_page_shows_what_was_seen(bench: Bench) -> None:
    """Versions, the period, what is left; and of one that nobody saw that it is so."""
    bench.key.state = replace(
        bench.key.state, rotations_left=3, period=365 * DAY, last_use=BEGIN + DAY
    )
    bench.policy = replace(bench.policy, purpose="orders", owner="ops@example.com")
    bench.tick(82 * DAY)
    facts = dict(bench.found.details().facts)
    assert facts["Purpose"].text == "orders"
    assert facts["Rotations on demand left"].text == "2"
    assert facts["Period of the service"].text == "365 days"
    assert facts["Last use"].moment == BEGIN + DAY
    assert facts["Next rotation"].moment == BEGIN + (82 + 81) * DAY + timedelta(days=0.9)
    [table] = bench.found.details().tables
    assert [(row[0].text, row[1].text, row[3].text) for row in table.rows] == [
        ("2", "present", "yes"),
        ("1", "older", "yes"),
    ]
    unseen = dict(bench.subject.unseen().details().facts)
    assert unseen["Service"].note == "never asked"
    assert "Last use" not in unseen


def test_a_listing_shows_what_was_seen(bench: Bench) -> None:
    """For programs, with moments as they are."""
    view = View(bench.subject, bench.found, bench.clock.now())
    row = view.to_json(ask=True)
    assert (row["kind"], row["state"], row["decision"]) == ("managed-key", "ok", "wait")
    assert (row["key"], row["present"], row["rotated_by"]) == ("the key", "1", "certrotd")
    assert row["versions"] == [{"id": "1", "created": BEGIN, "decrypts": True}]
    assert row["not_after"] == BEGIN + 91 * DAY
    unseen = bench.subject.unseen().to_json()
    assert (unseen["seen"], unseen["present"], unseen["versions"]) == (None, None, [])


def test_the_state_says_what_is_wrong(bench: Bench) -> None:
    """Disabled here, disabled there, never seen, and beyond its cryptoperiod."""

    def state() -> str:
        return View(bench.subject, bench.found, bench.clock.now()).state

    assert state() == "ok"
    bench.key.state = replace(bench.key.state, versions=(KeyVersion("1", BEGIN, decrypts=False),))
    bench.tick(2 * DAY)
    assert state() == "broken"
    bench.clock.advance(90 * DAY)
    assert state() == "expired"
    bench.policy = replace(bench.policy, enabled=False)
    assert state() == "disabled"
    assert View(bench.subject, Bench().found, bench.clock.now()).state == "due"
    assert Bench().found.renewal is None


def test_a_subject_sets_nothing_aside(bench: Bench) -> None:
    """Nothing that others share is limited."""
    subject, now = bench.subject, bench.clock.now()
    assert subject.reserve(None, now=now) is subject.foresee(None, now=now) is None
    subject.release()
    assert (subject.names, subject.fate.part) == ((), "orders")
    assert bench.found.consumers() == ()
    view = View(subject, bench.found, now)
    assert bench.found.alerts(view) == ()
    assert bench.found.explain(now=now)[-1].code == "not_due"
    assert bench.found.decide(FORCED, now=now).code == "forced"
    assert list(bench.found.steps()) == []


def test_a_key_that_another_process_rotates_is_left_alone(bench: Bench) -> None:
    """One at a time: nothing is asked, and nothing is in flight."""
    bench.clock.advance(90 * DAY)
    with bench.lock():
        report = bench.rotate()
    assert report.refused
    assert bench.key.rotated == 0
    assert bench.subject.journal.peek() is None


def test_a_page_leaves_out_what_its_service_does_not_say(bench: Bench) -> None:
    """No limit, no last use, no period: the negative control of the page above."""
    bench.rotate()
    facts = dict(bench.found.details().facts)
    assert {"Purpose", "Last use", "Rotations on demand left"}.isdisjoint(facts)
    assert facts["Period of the service"].text == "none"
    bench.policy = replace(bench.policy, by_service=True)
    assert "Next rotation" not in dict(bench.found.details().facts)
