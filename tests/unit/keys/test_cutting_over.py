"""A keyring whose application is cut over: its plan, its window, and what is refused."""

from __future__ import annotations

from datetime import time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from certrotd.keyring.states import State
from certrotd.keys.decision import Rotate
from certrotd.keys.plan import plan_of
from certrotd.keys.rotation import compromise, rollback
from certrotd.lifecycle.decision import Asked, Postpone
from certrotd.rotation.engine import Finished, Parked, RolledBack
from certrotd.rotation.step import title
from certrotd.window import Window
from tests.fakes.one_key import CutOverBench

NIGHT = Window(frozenset(range(7)), time(2), time(4), ZoneInfo("UTC"))
NAMED = Asked(forced=True, by_hand=True, named=True)
MONTHS = timedelta(days=85)


@pytest.fixture
def bench() -> CutOverBench:
    """The application runs under its first key."""
    return CutOverBench().begin()


def planned(bench: CutOverBench, asked: Asked) -> list[str]:
    """The steps of what is due."""
    bench.clock.advance(MONTHS)
    return [title(each) for each in plan_of(bench.case(asked), Rotate("due"))]


def test_everything_that_takes_long_comes_before_the_stop(bench: CutOverBench) -> None:
    """And the first key of all needs no stop."""
    bench.with_policy(window=NIGHT)
    assert planned(bench, Asked()) == [
        *("generate", "escrow", "prove", "await-window", "proven", "stop", "re-encrypt-all"),
        *("swap-key", "start", "probe", "committed"),
    ]
    assert "await-window" not in planned(bench, NAMED)


def test_the_application_is_stopped_within_the_window_also_if_the_proof_took_long(
    bench: CutOverBench,
) -> None:
    """The rotation waits for the next opening; the application has not noticed anything."""
    bench.with_policy(window=NIGHT)
    bench.window = NIGHT
    bench.clock.advance(MONTHS + timedelta(hours=1))
    assert isinstance(bench.rotate().decision, Postpone)
    bench.clock.advance(timedelta(hours=1))
    bench.slow = timedelta(hours=3)
    report = bench.rotate()
    assert isinstance(report.outcome, Parked)
    assert "waits for its window" in report.outcome.why
    assert bench.app.stops == 0
    bench.slow = timedelta(0)
    bench.clock.advance(timedelta(hours=21, minutes=30))
    assert isinstance(bench.rotate().recovered, Finished)
    assert bench.whole() == 2


def test_a_value_that_does_not_open_ends_it_before_the_stop(bench: CutOverBench) -> None:
    """Nothing of the application changes."""
    bench.rows.content[(3,)] = (b"\x01\x00\x00\x00\x01" + bytes(40),)
    report = bench.rotate(NAMED)
    assert isinstance(report.outcome, RolledBack)
    assert "secret of row 3" in report.outcome.because
    assert bench.app.stops == 0


def test_nothing_at_all_to_reencrypt_ends_it_before_the_stop(bench: CutOverBench) -> None:
    """The database may be the wrong one."""
    bench.rows.content.clear()
    report = bench.rotate(NAMED)
    assert isinstance(report.outcome, RolledBack)
    assert "holds no value at all" in report.outcome.because
    assert bench.app.stops == 0


def test_an_undo_keeps_the_key_for_the_next_attempt_which_takes_a_day_or_a_person(
    bench: CutOverBench,
) -> None:
    """Each attempt stops the application."""
    bench.clock.advance(MONTHS)
    bench.app.refuses = {"reads"}
    assert isinstance(bench.rotate().outcome, RolledBack)
    assert bench.whole() == 1
    assert bench.states() == {1: State.ACTIVE, 2: State.SECONDARY}
    bench.app.refuses = set()
    bench.clock.advance(timedelta(hours=3))
    held = bench.rotate().decision
    assert isinstance(held, Postpone)
    assert "undone" in held.why
    bench.clock.advance(timedelta(days=1))
    assert isinstance(bench.rotate().outcome, Finished)
    assert bench.whole() == 2
    assert bench.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}


def test_a_cut_over_that_is_done_is_not_rolled_back(bench: CutOverBench) -> None:
    """What is stored is under the new key."""
    assert isinstance(bench.rotate(NAMED).outcome, Finished)
    report = rollback(bench, bench.runner, None)
    assert "a cut-over that is done is not undone" in str(report.failure)
    assert bench.whole() == 2


def test_a_compromised_key_is_cut_over_at_once(bench: CutOverBench) -> None:
    """It is marked when nothing is under it any more."""
    bench.with_policy(window=NIGHT)
    bench.window = NIGHT
    report = bench.ask(partial(compromise, 1, "a laptop was stolen"))
    assert isinstance(report.outcome, Finished), report
    assert bench.whole() == 2
    assert bench.states() == {1: State.COMPROMISED, 2: State.ACTIVE}


def test_the_audit_log_and_the_result_tell_the_downtime(bench: CutOverBench) -> None:
    """From the stop to the answer of the probe."""
    report = bench.rotate(NAMED)
    assert isinstance(report.outcome, Finished)
    assert str(report.outcome.facts["downtime"]).startswith("the application was stopped for")
    [told] = [each for each in bench.audit.happened if each.event == "keyring.cut_over"]
    assert told.details["version"] == 2
    assert told.details["rows"] == 7
