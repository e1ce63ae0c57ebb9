"""What watching a managed key finds, and that it keeps what the service shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.errors import Failure
from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.kek.port import Denied, Disabled, KekUnavailable
from certrotd.lifecycle.finding import EarlierLooks, Finding
from certrotd.lifecycle.looked import Looked
from certrotd.managed_keys import checks
from certrotd.managed_keys.checks import KINDS
from certrotd.managed_keys.policy import Policy, after
from certrotd.managed_keys.retention import Retention
from tests.fakes.managed_keys import BEGIN, Bench

DAY = timedelta(days=1)
KEEPING: dict[str, object] = {"retention": Retention(1, 30 * timedelta(days=1))}
SECOND = KeyVersion("2", BEGIN + timedelta(days=10))
Change = Callable[[ManagedState], ManagedState]


def changed(**changes: object) -> Change:
    return lambda state: replace(state, **changes)  # type: ignore[arg-type]


def looked(bench: Bench) -> Looked:
    [found] = bench.check().look()
    return found


def kinds(findings: tuple[Finding, ...]) -> list[str]:
    return [each.kind for each in findings]


FOUND: dict[str, tuple[Change, dict[str, object], timedelta]] = {
    checks.OFF: (changed(), {"by_service": True}, DAY),
    checks.LONG: (changed(period=365 * DAY), {"by_service": True}, DAY),
    checks.OLD: (changed(), {}, 92 * DAY),
    checks.USED_UP: (changed(rotations_left=5), {}, DAY),
    checks.WITHHELD: (
        changed(versions=(KeyVersion("1", None, decrypts=False), SECOND)),
        KEEPING,
        39 * DAY,
    ),
    checks.DISABLED: (changed(versions=(KeyVersion("1", BEGIN, decrypts=False),)), {}, DAY),
}
WELL: list[tuple[Change, dict[str, object], timedelta]] = [
    (changed(), {}, 91 * DAY),
    (changed(period=91 * DAY), {"by_service": True}, DAY),
    (changed(period=30 * DAY), {"by_service": True}, DAY),
    (changed(rotations_left=6), {}, DAY),
    (changed(versions=(KeyVersion("1", None, decrypts=False), SECOND)), KEEPING, 40 * DAY),
    (changed(versions=(KeyVersion("1", None, decrypts=False), SECOND)), {}, 39 * DAY),
    (changed(versions=(KeyVersion("1", BEGIN), SECOND)), KEEPING, 40 * DAY),
    (changed(rotations_left=0, period=91 * DAY), {"by_service": True}, DAY),
]


@pytest.mark.parametrize("kind", FOUND)
def test_what_is_wrong_is_found(kind: str) -> None:
    """Each as an alert with what helps."""
    change, policy, passed = FOUND[kind]
    bench = Bench()
    bench.policy = replace(bench.policy, **policy)  # type: ignore[arg-type]
    bench.key.state = change(bench.key.state)
    bench.clock.advance(passed)
    [finding] = looked(bench).watched.findings
    assert finding.kind == kind
    assert finding.alert == "trouble"
    assert finding.todo


@pytest.mark.parametrize(("change", "policy", "passed"), WELL)
def test_what_is_well_is_not(change: Change, policy: dict[str, object], passed: timedelta) -> None:
    """The negative controls."""
    bench = Bench()
    bench.policy = replace(bench.policy, **policy)  # type: ignore[arg-type]
    bench.key.state = change(bench.key.state)
    bench.clock.advance(passed)
    assert looked(bench).watched.findings == ()


TROUBLES: dict[str, Failure] = {
    checks.AWAY: KekUnavailable("the key does not answer"),
    checks.REFUSED: Denied("the key refuses"),
    checks.DISABLED: Disabled("the key is disabled"),
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_a_service_that_cannot_be_asked_is_found(kind: str) -> None:
    """What was seen before stays, and the key is not woken for it."""
    bench = Bench()
    bench.key.away = TROUBLES[kind]
    [finding] = looked(bench).watched.findings
    assert finding.kind == kind
    assert bench.document().peek() is None
    assert bench.state.wakes == set()
    assert bench.check().failed(TROUBLES[kind]).findings == (finding,)


def test_every_kind_of_finding_is_tested() -> None:
    """They are the labels of counters."""
    assert {*FOUND, *TROUBLES, checks.LOWERED} == {*KINDS}


def test_rotations_that_are_used_up_are_an_error() -> None:
    """A few that are left are a warning."""
    bench = Bench()
    words = []
    for left in (5, 0):
        bench.key.state = replace(bench.key.state, rotations_left=left)
        [finding] = looked(bench).watched.findings
        words.append((finding.severity.value, finding.words))
    assert words == [
        ("warning", "AWS KMS rotates it on demand no more than 5 times"),
        ("error", "AWS KMS rotates it on demand no more"),
    ]


def test_versions_that_decrypt_again_are_a_warning_until_a_person_ends_it() -> None:
    """certrotd leaves it to them, and a policy that keeps more versions is fine with it."""
    bench = Bench()
    bench.policy = replace(bench.policy, **KEEPING)  # type: ignore[arg-type]
    bench.key.state = changed(versions=(KeyVersion("1", BEGIN), SECOND))(bench.key.state)
    bench.clock.advance(41 * DAY)
    known = after(bench.key.state, None, at=bench.clock.now(), key=bench.policy.key)
    bench.document().write(replace(known, retired_before="2"))
    [finding] = looked(bench).watched.findings
    assert (finding.kind, finding.severity.value) == (checks.LOWERED, "warning")
    assert finding.words == "somebody lowered min_decryption_version from 2 to 1"
    assert finding.todo.endswith("certrotd rotate managed-key/orders")
    bench.policy = replace(bench.policy, retention=Retention(2, 30 * DAY))
    assert looked(bench).watched.findings == ()


@pytest.mark.parametrize("asked", [Retention(2, 30 * DAY), Retention(1, 60 * DAY)])
@pytest.mark.parametrize(
    ("mark", "whose"),
    [("2", ": certrotd retired it by an earlier keep_versions or retire_after"), ("", "")],
)
def test_a_version_that_is_withheld_is_told_with_whose_act_it_was(
    asked: Retention, mark: str, whose: str
) -> None:
    """Of certrotd, before the policy kept more, or of somebody else; the words blame neither."""
    bench = Bench()
    bench.policy = replace(bench.policy, **KEEPING)  # type: ignore[arg-type]
    bench.key.state = changed(versions=(KeyVersion("1", None, decrypts=False), SECOND))(
        bench.key.state
    )
    bench.clock.advance(41 * DAY)
    known = after(bench.key.state, None, at=bench.clock.now(), key=bench.policy.key)
    bench.document().write(replace(known, retired_before=mark))
    assert looked(bench).watched.findings == ()
    bench.policy = replace(bench.policy, retention=asked)
    [finding] = looked(bench).watched.findings
    assert (finding.kind, finding.severity.value) == (checks.WITHHELD, "error")
    words = "min_decryption_version is 2, and withholds a version that is to be kept"
    assert finding.words == words + whose


def test_what_a_service_shows_is_kept_and_wakes_the_key_once() -> None:
    """Each look is noted, and only a change is news."""
    bench = Bench()
    looked(bench)
    assert bench.state.wakes == {"managed-key/orders"}
    bench.state.wakes.clear()
    bench.clock.advance(timedelta(hours=1))
    looked(bench)
    assert bench.state.wakes == set()
    seen = bench.document().peek()
    assert seen is not None
    assert seen.at == bench.clock.now()
    bench.key.appear()
    looked(bench)
    assert bench.state.wakes == {"managed-key/orders"}


def test_a_rotation_that_writes_meanwhile_is_not_overwritten() -> None:
    """The check has asked before it, and knows less."""
    bench = Bench()
    looked(bench)
    newer = replace(bench.key.state, versions=(*bench.key.state.versions, KeyVersion("2", BEGIN)))

    def rotated() -> None:
        bench.document().write(after(newer, None, at=bench.clock.now(), key=bench.policy.key))

    bench.key.after_look = rotated
    looked(bench)
    seen = bench.document().peek()
    assert seen is not None
    assert seen.state.present.id == "2"


def test_a_damaged_document_is_begun_anew() -> None:
    """The service knows better anyway."""
    bench = Bench()
    bench.state.document("managed-keys/orders").write(b"{")
    assert looked(bench).watched.findings == ()
    assert bench.document().peek() is not None


def test_what_may_pass_is_reported_when_it_is_found_twice() -> None:
    """certrotd sets a period by itself, and a service is back soon; the rest is told at once."""
    bench = Bench()
    bench.key.away = KekUnavailable("the key does not answer")
    first = looked(bench).settle(EarlierLooks())
    assert (first.watched.findings, first.watched.unsure) == ((), True)
    second = looked(bench).settle(first.held)
    assert kinds(second.watched.findings) == [checks.AWAY]
    assert not second.watched.unsure
    assert kinds(looked(bench).settle(EarlierLooks(), most=1).watched.findings) == [checks.AWAY]
    bench.key.away = Denied("the key refuses")
    told = looked(bench).settle(EarlierLooks())
    assert kinds(told.watched.findings) == [checks.REFUSED]


def test_while_a_rotation_moves_a_key_what_was_told_stands() -> None:
    """It looks different meanwhile."""
    bench = Bench()
    told = (Finding(checks.OLD, "it is old"),)
    bench.state.journals["managed-key/orders"] = []
    found = looked(bench)
    assert found.moving
    assert found.settle(EarlierLooks({}, told)).watched.findings == told


def test_a_check_names_its_key() -> None:
    """Its label and its key are the same in every process."""
    check = Bench().check()
    policy: Policy = check.policy
    assert check.label == str(policy.id) == "managed-key/orders"
    assert list(check.watched_keys()) == [looked(Bench()).watched.key]
