"""A version is retired by one step, which is undone unless somebody else has the last word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.kek.port import Denied, KekUnavailable
from certrotd.lifecycle.decision import Asked, Postpone, Wait
from certrotd.managed_keys.decision import Retire, Rotate
from certrotd.managed_keys.retention import Retention
from certrotd.rotation.engine import Finished, RolledBack, Stuck
from tests.fakes.managed_keys import Bench, Killed

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NAMED = Asked(by_hand=True, named=True)


@pytest.fixture
def bench() -> Bench:
    """A key of two versions: the older is retired once the newer has encrypted for 30 days."""
    bench = Bench()
    bench.policy = replace(bench.policy, retention=Retention(1, 30 * DAY))
    bench.rotate()
    assert isinstance(bench.tick(82 * DAY).decision, Rotate)
    bench.clock.advance(30 * DAY)
    return bench


def oldest(bench: Bench) -> str:
    """The oldest version that decrypts, at the service."""
    return bench.key.state.oldest_decrypting.id


def test_a_version_is_retired_once_its_time_is_over(bench: Bench) -> None:
    """With why, in the history and in the audit log; the next look finds nothing to do."""
    assert bench.found.steps() == ["look"]
    report = bench.rotate()  # a look, which shows what is due
    assert isinstance(report.decision, Retire)
    assert isinstance(report.outcome, Finished)
    assert (oldest(bench), bench.key.retired) == ("2", ["2"])
    line = bench.history.last()
    assert line is not None
    assert (line["facts"]["act"], line["facts"]["min_decryption_version"]) == ("retire", "2")
    assert "raises min_decryption_version from 1 to 2" in line["why"]
    assert bench.audit.events[-2:] == ["rotation.began", "rotation.finished"]
    assert isinstance(bench.rotate().decision, Wait)


def test_a_version_whose_time_is_not_over_decrypts() -> None:
    """The negative control; nor is any retired where nobody asks for it."""
    for retention in (Retention(1, 31 * DAY), Retention(2, DAY), None):
        bench = Bench()
        bench.policy = replace(bench.policy, retention=retention)
        bench.rotate()
        bench.tick(82 * DAY)
        bench.tick(30 * DAY)
        assert isinstance(bench.rotate().decision, Wait)
        assert bench.key.retired == []


def test_a_listing_says_when_a_version_is_retired(bench: Bench) -> None:
    """And what decrypts; without a policy there is nothing to say."""
    bench.key.state = replace(
        bench.key.state, min_decryption_version=1, min_available_version=1, rotations_left=None
    )
    bench.check().look()
    facts = dict(bench.found.details().facts)
    assert facts["Versions kept"].text == "newest 1, and any for 30 days after the next"
    assert (facts["Next retirement"].moment, facts["Next retirement"].note) == (
        bench.clock.now(),
        "of version 1",
    )
    assert bench.found.steps() == ["retire"]
    bench.rotate()
    facts = dict(bench.found.details().facts)
    assert "Next retirement" not in facts
    assert facts["min_decryption_version"].text == "2"
    row = bench.found.to_json()
    assert (row["min_decryption_version"], row["min_available_version"]) == (2, 1)
    assert [each["decrypts"] for each in row["versions"]] == [False, True]
    bench.policy = replace(bench.policy, retention=None)
    assert "Versions kept" not in dict(bench.found.details().facts)


def killed(bench: Bench) -> None:
    """The process ends between the act and its record."""
    bench.check().look()
    bench.key.lost = Killed()
    with pytest.raises(Killed):
        bench.rotate()
    assert oldest(bench) == "2"


def test_a_crash_after_the_act_is_noticed_by_a_look(bench: Bench) -> None:
    """It is not done twice, and a person who takes it back later is respected."""
    killed(bench)
    assert isinstance(bench.rotate().recovered, Finished)
    assert bench.key.retired == ["2"]
    bench.key.limit("1")
    bench.check().look()
    assert bench.found.decision is not None
    assert bench.found.decision.code == "lowered"


def test_a_crash_before_the_act_does_it_then(bench: Bench) -> None:
    """The journal said so, and the service shows that it was not done."""
    killed(bench)
    bench.key.limit("1")
    assert isinstance(bench.rotate().recovered, Finished)
    assert (oldest(bench), bench.key.retired) == ("2", ["2", "2"])


def test_an_act_whose_answer_is_lost_is_undone(bench: Bench) -> None:
    """It failed for all that certrotd knows; the next attempt does it."""
    bench.key.lost = KekUnavailable("the key does not answer")
    report = bench.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert (oldest(bench), bench.key.retired) == ("1", ["2", "1"])
    assert isinstance(bench.found.decision, Postpone)
    assert isinstance(bench.tick(MINUTE).outcome, Finished)
    assert oldest(bench) == "2"


def test_an_act_that_is_not_shown_has_failed(bench: Bench) -> None:
    """A service that only seems to take it would be asked for ever."""
    bench.key.deaf = True
    report = bench.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert "does not show it" in report.outcome.because
    assert isinstance(bench.rotate().decision, Postpone)


def mark(bench: Bench) -> str:
    """The version that certrotd remembers to have retired before."""
    seen = bench.document().peek()
    assert seen is not None
    return seen.retired_before


def test_a_refused_act_is_undone_without_its_service(bench: Bench) -> None:
    """A token without the permission lacks it for the undo as well; with it, it is done."""
    bench.key.refuses = Denied("the key refuses: permission denied")
    for _ in range(2):
        report = bench.rotate(Asked(by_hand=True))
        assert isinstance(report.outcome, RolledBack)
        assert "permission denied" in report.outcome.because
        assert (oldest(bench), bench.key.retired, mark(bench)) == ("1", [], "")
        assert not bench.state.flying("managed-key/orders")
    assert isinstance(bench.found.decision, Postpone)
    bench.key.refuses = None
    assert isinstance(bench.rotate(Asked(by_hand=True)).outcome, Finished)
    assert (oldest(bench), mark(bench)) == ("2", "2")


@pytest.mark.parametrize(
    "trouble",
    [{"refuses": Denied("the key refuses")}, {"lost": KekUnavailable("no answer")}, {"deaf": True}],
    ids=["refused", "lost", "deaf"],
)
def test_an_undone_act_leaves_what_a_person_lowered(
    bench: Bench, trouble: dict[str, object]
) -> None:
    """The person who named the key may do so again; the daemon waits, as it did before."""
    bench.rotate()
    bench.key.limit("1")
    bench.check().look()
    for name, value in trouble.items():
        setattr(bench.key, name, value)
    assert isinstance(bench.rotate(NAMED).outcome, RolledBack)
    assert (oldest(bench), mark(bench)) == ("1", "2")
    assert bench.found.decision is not None
    assert bench.found.decision.code == "lowered"


def test_an_act_that_was_killed_before_its_refusal_puts_the_mark_back(bench: Bench) -> None:
    """The mark of the act was written, and is not taken for the one before it."""
    bench.check().look()
    bench.key.refuses = Killed()
    with pytest.raises(Killed):
        bench.rotate()
    assert mark(bench) == "2"
    bench.key.refuses = Denied("the key refuses")
    assert isinstance(bench.rotate().recovered, RolledBack)
    assert (oldest(bench), bench.key.retired, mark(bench)) == ("1", [], "")


def lost_then(bench: Bench, act: Callable[[], None]) -> Bench:
    """The answer is lost, and so is the service; ``act`` comes before it is back."""
    retire = bench.key.retire_before

    def away(version: str) -> None:
        retire(version)
        bench.key.away = KekUnavailable("the key does not answer")
        raise bench.key.away

    bench.key.retire_before = away  # type: ignore[method-assign]
    assert isinstance(bench.rotate().outcome, Stuck)
    bench.key.retire_before = retire  # type: ignore[method-assign]
    bench.key.away = None
    act()
    return bench


def test_an_undo_waits_for_its_service(bench: Bench) -> None:
    """What it has done meanwhile is within the policy, and is taken back all the same."""
    lost_then(bench, lambda: None)
    assert isinstance(bench.rotate().recovered, RolledBack)
    assert oldest(bench) == "1"


def test_what_somebody_else_raised_further_is_left_alone(bench: Bench) -> None:
    """It is theirs, and a finding where it is against the policy."""
    bench.key.appear()
    lost_then(bench, lambda: bench.key.limit("3"))
    assert isinstance(bench.rotate().recovered, RolledBack)
    assert (oldest(bench), bench.key.retired) == ("3", ["2"])


def test_what_is_trimmed_is_not_taken_back(bench: Bench) -> None:
    """The engine has destroyed it; the record says so."""
    lost_then(bench, lambda: bench.key.trim("2"))
    report = bench.rotate()
    assert isinstance(report.recovered, RolledBack)
    assert report.recovered.left == "versions before 2 stay retired: they are trimmed"
    assert bench.key.retired == ["2"]


def test_an_undo_touches_no_other_key(bench: Bench) -> None:
    """The configuration names another one since."""

    def renamed() -> None:
        bench.policy = replace(bench.policy, key="another")

    report = lost_then(bench, renamed).rotate()
    assert isinstance(report.recovered, RolledBack)
    assert report.recovered.left == "versions before 2 stay retired at the former key"
    assert bench.key.retired == ["2"]


def test_a_retirement_in_flight_is_not_done_to_another_key(bench: Bench) -> None:
    """Version 2 of that one is another thing."""
    killed(bench)
    bench.policy = replace(bench.policy, key="another")
    report = bench.rotate()
    assert isinstance(report.recovered, RolledBack)
    assert "names another key" in report.recovered.because
    assert bench.key.retired == ["2"]


@pytest.mark.parametrize("by", ["2", "3"])
def test_what_somebody_else_retired_just_now_is_neither_done_nor_undone(
    bench: Bench, by: str
) -> None:
    """It was done after the last look."""
    bench.key.appear()
    bench.check().look()
    looks = 0

    def meanwhile() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:  # the look that decides
            bench.key.limit(by)

    bench.key.after_look = meanwhile
    report = bench.rotate()
    assert isinstance(report.decision, Retire)
    assert isinstance(report.outcome, Finished)
    assert (oldest(bench), bench.key.retired) == (by, [])


def test_a_failure_before_the_act_undoes_nothing(bench: Bench) -> None:
    """Nothing was asked for."""
    bench.check().look()
    bench.key.away = KekUnavailable("the key does not answer")
    report = bench.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert bench.key.retired == []


def test_what_a_person_lowered_stays_until_a_person_asks(bench: Bench) -> None:
    """By the name of the key; the daemon and timers leave it."""
    bench.rotate()
    bench.key.limit("1")
    bench.check().look()
    for asked in (Asked(), Asked(by_hand=True)):
        decision = bench.rotate(asked).decision
        assert decision is not None
        assert decision.code == "lowered"
    assert oldest(bench) == "1"
    assert isinstance(bench.rotate(NAMED).outcome, Finished)
    assert oldest(bench) == "2"
