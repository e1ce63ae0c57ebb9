"""What cannot be tidied up must not keep a certificate from being renewed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.certs.pruning import tidying
from certrotd.lifecycle.report import Report
from certrotd.pki.certificate import CertificateFacts
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.builders import facts
from tests.fakes.store import Pair
from tests.model.scenarios import NAME
from tests.unit.certs.rotating import Case

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ALWAYS = 10**6
PRUNING = ["store: move to the trash", "installer: forget what was there"]


def _finished(report: Report) -> Finished:
    outcome = report.outcome or report.recovered
    assert isinstance(outcome, Finished), outcome
    return outcome


@pytest.mark.parametrize("what", PRUNING)
def test_an_old_generation_that_cannot_be_removed_does_not_block_the_next_renewal(
    what: str,
) -> None:
    """A file somebody made immutable in an old generation must not end in an expired one."""
    case = Case("renewal")
    case.policy(keep=0)
    case.trouble.refuse[what] = ALWAYS
    assert isinstance(case.rotate().outcome, Parked)
    assert case.live == 3
    report = case.rotate(after=HOUR)
    assert isinstance(report.recovered, Parked)
    assert report.failed, "it is tried again, and said, for a while"
    done = _finished(case.rotate(after=DAY))
    assert "No space left" in str(done.facts["unpruned"]) or "denied" in str(done.facts["unpruned"])
    assert "the next rotation tries again" in case.world.remarks[-1]
    case.rotate(after=61 * DAY)
    assert case.live == 4, "the next renewal"


@pytest.mark.parametrize("what", PRUNING)
def test_an_old_generation_that_can_be_removed_later_is_removed(what: str) -> None:
    """The negative control."""
    case = Case("renewal")
    case.policy(keep=0)
    case.trouble.refuse[what] = 1
    assert isinstance(case.rotate().outcome, Parked)
    assert "unpruned" not in _finished(case.rotate(after=HOUR)).facts
    shelf = case.world.store.shelf(case.world.policy.name)
    assert [number for number, _, _ in shelf.generations] == [2, 3]
    assert case.world.installer.backups == ()


def test_a_clock_put_back_meanwhile_does_not_make_it_longer() -> None:
    """What was noted ahead of time says nothing."""
    case = Case("renewal")
    case.trouble.refuse["installer: forget what was there"] = ALWAYS
    case.clock.jump(5 * DAY)
    assert isinstance(case.rotate().outcome, Parked)
    case.clock.jump(-5 * DAY)
    assert isinstance(case.rotate(after=HOUR).recovered, Parked)
    _finished(case.rotate(after=DAY))


@pytest.mark.parametrize(
    ("lifetime", "wait"),
    [(90 * DAY, DAY), (6 * DAY, 0.05 * 6 * DAY), (5 * MINUTE, 15 * MINUTE / 60)],
)
def test_short_lived_certificates_wait_less(lifetime: timedelta, wait: timedelta) -> None:
    """Five minutes leave no day to try again in."""
    known: CertificateFacts = facts(lifetime=lifetime)
    assert tidying(known) == wait
    assert tidying(None) == timedelta(0)


@pytest.mark.parametrize("rest", ["sweep trash", "sweep staging"])
def test_files_of_a_crash_that_cannot_be_removed_are_only_reported(rest: str) -> None:
    """The certificate is renewed all the same."""
    case = Case("renewal")
    _leave_rests(case)
    case.trouble.refuse[f"store: {rest}"] = ALWAYS
    report = case.rotate()
    assert isinstance(report.outcome, Finished)
    assert case.live == 3
    assert report.failed
    assert report.failure is not None
    assert "done, but files of a crash remain" in report.failure.message


def test_a_failed_rotation_is_reported_instead_of_a_failed_sweep() -> None:
    """Why the rotation failed matters more than what it could not sweep before."""
    case = Case("renewal")
    _leave_rests(case)
    case.trouble.refuse |= {"store: sweep trash": ALWAYS, "issuer: order": 1}
    report = case.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert report.failure is None


def test_a_rollback_by_hand_is_not_kept_away_either() -> None:
    """Least of all when somebody is in a hurry."""
    case = Case("rollback")
    _leave_rests(case)
    case.trouble.refuse["store: sweep trash"] = ALWAYS
    report = case.rollback()
    assert case.live == 1
    assert report.failure is not None
    assert "files of a crash remain" in report.failure.message


def test_a_backup_that_was_left_goes_with_the_next_run() -> None:
    """There are keys in it."""
    case = Case("renewal")
    case.trouble.refuse["installer: forget what was there"] = ALWAYS
    case.rotate()
    assert case.world.installer.backups
    _finished(case.rotate(after=DAY))
    assert case.world.installer.backups == ()


def _leave_rests(case: Case) -> None:
    shelves = case.world.store.shelves
    shelves[NAME] = replace(shelves[NAME], trash=(1,), staging=((9, Pair()),))
