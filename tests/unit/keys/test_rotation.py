"""A keyring is rotated by stages, and no application ever meets a key that it lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from unittest.mock import ANY, MagicMock

import pytest

from certrotd.errors import NeedsOperator
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.document import Unreadable
from certrotd.keyring.evidence import Count
from certrotd.keyring.material import Algorithm, Material
from certrotd.keyring.states import State
from certrotd.keys.decision import Destroy, Disable, Retire, Rotate
from certrotd.keys.rotation import (
    adopt,
    compromise,
    redeliver,
    restore,
    rewrap,
    rollback,
    rotate_because,
)
from certrotd.keys.steps import Generate
from certrotd.lifecycle.decision import Asked, Postpone, Wait
from certrotd.outputs.port import Imported, ImportedKey
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.fakes.keyrings import KeyBench

DAY = timedelta(days=1)
HAND = Asked(by_hand=True, named=True)
ACTIVE, SECONDARY, DECRYPTS = State.ACTIVE, State.SECONDARY, State.DECRYPT_ONLY


@pytest.fixture
def bench() -> KeyBench:
    """With a first key that every application has."""
    bench = KeyBench()
    report = bench.rotate()
    assert isinstance(report.outcome, Finished), report
    assert bench.states() == {1: ACTIVE}
    return bench


def consistent(bench: KeyBench) -> None:
    """Whatever one application encrypts now, every other can decrypt."""
    written = {app.writes for app in bench.apps.values() if app.writes is not None}
    for app in bench.apps.values():
        if app.has is not None:
            assert written <= app.reads, (app.name, written, app.reads)


def test_the_first_key_is_made_backed_up_and_delivered(bench: KeyBench) -> None:
    """Nobody has anything before it, so it is active at once."""
    assert bench.apps["web"].writes == 1
    assert [each.revision for each in bench.backups] == [1]
    assert bench.audit.events.count("key.generated") == 1
    assert isinstance(bench.case().standing.versions, object)


def test_a_rotation_is_staged_and_every_reader_is_ahead_of_every_writer(bench: KeyBench) -> None:
    """At no moment does an application encrypt with what another cannot decrypt."""
    bench.watch = partial(consistent, bench)
    report = bench.tick(90 * DAY)
    assert isinstance(report.outcome, Finished)
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}
    assert {app.writes for app in bench.apps.values()} == {2}
    assert {app.reads for app in bench.apps.values()} == {frozenset({1, 2})}
    assert "key.activated" in bench.audit.events
    assert isinstance(bench.rotate().decision, Wait)


def test_a_version_that_is_not_the_next_one_is_not_made(bench: KeyBench) -> None:
    """Another process has changed the keyring since the rotation was planned."""
    with pytest.raises(NeedsOperator, match="version 2 would be next, not 3"):
        Generate(3, "planned before").do(bench.world(), MagicMock())
    assert bench.states() == {1: ACTIVE}


def test_what_is_activated_before_it_is_distributed_breaks_a_reader(bench: KeyBench) -> None:
    """The negative control: the same check notices a rotation without the first stage."""
    store = bench.store()
    found = store.read()
    assert found is not None
    keyring = found.keyring
    versions = keyring.versions.generate(at=bench.clock.now(), why="now")
    keyring = keyring.added(bench.world().inlets.key(keyring), versions)
    versions = versions.distribute(2, at=bench.clock.now(), why="now")
    versions = versions.activate(2, at=bench.clock.now(), why="now")
    bench.shelf.deliver(Delivery.of(keyring.moved(versions)))
    bench.apps["web"].apply()
    with pytest.raises(AssertionError):
        consistent(bench)


def test_a_missing_acknowledgement_holds_and_never_activates(bench: KeyBench) -> None:
    """However long it takes, and however often it is looked at."""
    bench.apps["web"].deaf = True
    report = bench.tick(90 * DAY)
    assert isinstance(report.outcome, Parked)
    assert "web, which has other keys" in report.outcome.why
    records = len(bench.journal.records())
    for _ in range(200):
        report = bench.tick(timedelta(hours=1))
        assert isinstance(report.recovered, Parked)
    assert len(bench.journal.records()) <= records + 1
    assert bench.states() == {1: ACTIVE, 2: SECONDARY}
    bench.apps["web"].deaf = False
    bench.apps["web"].apply()
    assert isinstance(bench.tick(timedelta(minutes=2)).recovered, Finished)
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}


def test_the_critical_wave_is_told_only_when_the_earlier_has_confirmed(bench: KeyBench) -> None:
    """A key that breaks the worker does not reach the web."""
    bench.apps["worker"].silent = True
    before = bench.apps["web"].applied
    assert isinstance(bench.tick(90 * DAY).outcome, Parked)
    assert bench.apps["web"].applied == before


def test_an_application_that_restarts_with_the_old_file_holds_the_activation(
    bench: KeyBench,
) -> None:
    """It has acknowledged once; after the activation it is asked again."""
    bench.watch = partial(consistent, bench)
    web, old = bench.apps["web"], bench.apps["web"].has

    def restarted() -> None:
        if bench.events[-1].item == "activate" and bench.events[-1].what == "done":
            web.has, web.deaf = old, True

    bench.watch = restarted
    report = bench.tick(90 * DAY)
    assert isinstance(report.outcome, Parked)
    assert "web" in report.outcome.why
    assert web.writes == 1


@pytest.mark.parametrize("stage", ["secondary", "active"])
def test_a_consumer_that_cannot_be_told_undoes_to_the_last_confirmed_stage(
    bench: KeyBench, stage: str
) -> None:
    """Nothing encrypts with a key that somebody could not be given."""

    def breaks() -> None:
        consistent(bench)
        event = bench.events[-1]
        if event.what == "trying" and event.item == "deliver":
            activated = bench.states().get(2) is ACTIVE
            bench.apps["web"].broken = activated is (stage == "active")

    bench.watch = breaks
    report = bench.tick(90 * DAY)
    bench.watch = lambda: None
    assert isinstance(report.outcome, RolledBack)
    assert report.outcome.to == ("distributed" if stage == "active" else "")
    back = State.SECONDARY if stage == "active" else State.PRE_ACTIVE
    assert bench.states() == {1: ACTIVE, 2: back}
    assert {app.writes for app in bench.apps.values()} == {1}
    assert isinstance(bench.rotate().decision, Postpone)
    bench.apps["web"].broken = False
    assert isinstance(bench.tick(DAY).outcome, Finished)
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}


def test_a_cancelled_rotation_takes_the_key_back_and_does_not_begin_again(bench: KeyBench) -> None:
    """Not by itself for a day; whoever asks for it by hand has it at once."""
    bench.apps["web"].deaf = True
    assert isinstance(bench.tick(90 * DAY).outcome, Parked)
    bench.apps["web"].deaf = False
    bench.cancel()
    assert bench.states() == {1: ACTIVE, 2: State.PRE_ACTIVE}
    assert {app.reads for app in bench.apps.values()} == {frozenset({1})}
    decision = bench.rotate().decision
    assert isinstance(decision, Postpone)
    assert decision.code == "hold"
    assert isinstance(bench.rotate(HAND).outcome, Finished)
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}


def test_a_rollback_goes_back_one_stage_and_everything_stays_readable(bench: KeyBench) -> None:
    """After the activation there is ciphertext under the new key: it stays with everybody."""
    bench.tick(90 * DAY)
    bench.watch = partial(consistent, bench)
    report = rollback(bench, bench.runner, None)
    assert isinstance(report.outcome, Finished), report
    assert bench.states() == {1: ACTIVE, 2: SECONDARY}
    assert {app.writes for app in bench.apps.values()} == {1}
    assert {app.reads for app in bench.apps.values()} == {frozenset({1, 2})}
    report = rollback(bench, bench.runner, None)
    assert isinstance(report.outcome, Finished)
    assert bench.states() == {1: ACTIVE, 2: DECRYPTS}
    assert rollback(bench, bench.runner, None).failure is not None  # the first has none before it


def test_an_old_key_goes_only_after_everything_was_shown(bench: KeyBench) -> None:
    """Retired at census 0, withheld after its grace, destroyed after the watch and a drill."""
    bench.with_policy(datasets=frozenset({"rows"}), drains={"cookies": 3 * DAY})
    bench.tick(90 * DAY)

    def counted(left: int) -> None:
        bench.census[1] = {"rows": Count(left, bench.clock.now())}

    counted(5)
    assert isinstance(bench.tick(4 * DAY).decision, Wait)
    counted(0)
    bench.clock.advance(timedelta(hours=1))
    report = bench.rotate()
    assert isinstance(report.decision, Retire)
    assert bench.states()[1] is State.RETIRED
    assert isinstance(bench.tick(6 * DAY).decision, Wait)
    assert isinstance(bench.tick(2 * DAY).decision, Wait)
    counted(0)
    report = bench.tick(timedelta(hours=1))
    assert isinstance(report.decision, Disable)
    assert bench.states()[1] is State.DISABLED
    assert {app.reads for app in bench.apps.values()} == {frozenset({2})}
    counted(0)
    report = bench.tick(31 * DAY)
    assert isinstance(report.decision, Wait)
    assert "census" in report.decision.why or "drill" in report.decision.why
    counted(0)
    bench.drilled = bench.clock.now()
    report = bench.rotate()
    assert isinstance(report.decision, Destroy)
    assert bench.states()[1] is State.DESTROYED
    assert "key.destroyed" in bench.audit.events
    keyring = bench.world().keyring()
    assert keyring.entries[1].secret is None


def test_a_withheld_key_that_is_missed_is_restored(bench: KeyBench) -> None:
    """By a person, in one command, until it is destroyed."""
    bench.with_policy(datasets=frozenset({"rows"}), grace=0 * DAY)
    bench.tick(90 * DAY)
    bench.clock.advance(DAY)
    bench.census[1] = {"rows": Count(0, bench.clock.now())}
    assert isinstance(bench.rotate().decision, Retire)
    assert isinstance(bench.rotate().decision, Disable)
    report = bench.ask(partial(restore, 1, "a backup needs it"))
    assert isinstance(report.outcome, Finished)
    assert bench.states()[1] is DECRYPTS
    assert {app.reads for app in bench.apps.values()} == {frozenset({1, 2})}


def test_a_compromised_key_is_replaced_at_once_and_never_encrypts_again(bench: KeyBench) -> None:
    """Windows and dates do not hold that back; its ciphertext stays readable."""
    bench.watch = partial(consistent, bench)
    report = bench.ask(partial(compromise, 1, "a laptop was stolen"))
    assert isinstance(report.outcome, Finished)
    assert bench.states() == {1: State.COMPROMISED, 2: ACTIVE}
    assert {app.reads for app in bench.apps.values()} == {frozenset({1, 2})}
    assert "key.compromised" in bench.audit.events
    assert bench.ask(partial(compromise, 1, "again")).failure is not None


def test_a_two_slot_output_refuses_a_rotation_without_a_free_slot(bench: KeyBench) -> None:
    """Before anything begins, and it says which key is in the way."""
    bench.with_policy(capacity=2, datasets=frozenset({"rows"}))
    bench.tick(90 * DAY)
    decision = bench.tick(91 * DAY).decision
    assert isinstance(decision, Postpone)
    assert decision.code == "slot"
    assert "version 1 is decrypt-only" in decision.why
    assert bench.ask(partial(rotate_because, "now")).failure is not None
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}


def test_an_application_with_a_key_of_its_own_is_never_overwritten() -> None:
    """A new key in its place would lose its data."""
    bench = KeyBench()
    bench.shelf.stranger = True
    decision = bench.rotate().decision
    assert isinstance(decision, Wait)
    assert decision.code == "adopt"
    assert bench.shelf.writes == 0
    assert bench.states() == {}


def test_an_output_that_was_edited_by_hand_is_not_overwritten(bench: KeyBench) -> None:
    """Not by a rotation, and not by its undoing."""
    bench.shelf.stranger = True
    writes = bench.shelf.writes
    report = bench.tick(90 * DAY)
    assert isinstance(report.outcome, RolledBack)
    assert "changed by something else" in report.outcome.because
    assert bench.shelf.writes == writes
    assert bench.states() == {1: ACTIVE, 2: State.PRE_ACTIVE}


def test_a_lost_output_is_written_again(bench: KeyBench) -> None:
    """And a person may ask for it at any time."""
    bench.shelf.delivered, writes = None, bench.shelf.writes
    assert isinstance(bench.rotate().outcome, Finished)
    assert bench.shelf.writes == writes + 1
    writes = bench.shelf.writes
    assert isinstance(bench.ask(redeliver).outcome, Finished)
    assert bench.shelf.writes == writes + 1


def test_a_kek_that_is_away_in_the_middle_is_waited_for(bench: KeyBench) -> None:
    """No key is made in the place of one that cannot be read."""
    bench.kek.down = True
    report = bench.rotate(replace(HAND, forced=True))
    assert report.failure is not None
    bench.kek.down = False
    assert isinstance(bench.rotate(replace(HAND, forced=True)).outcome, Finished)
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}


def test_a_custodian_who_leaves_takes_the_key_along(bench: KeyBench) -> None:
    """Who has had access is remembered with the key; a newcomer is no reason."""
    bench.with_policy(custodians=frozenset({"ann", "bob"}))
    assert isinstance(bench.rotate(Asked(forced=True)).outcome, Finished)
    bench.with_policy(custodians=frozenset({"ann", "bob", "cyd"}))
    assert isinstance(bench.rotate().decision, Wait)
    bench.with_policy(custodians=frozenset({"ann", "cyd"}))
    decision = bench.rotate().decision
    assert isinstance(decision, Rotate)
    assert decision.code == "departed"
    assert "bob" in decision.why


def test_what_an_application_has_is_taken_over_and_nothing_it_reads_changes() -> None:
    """Its key is version 1, whose age nobody knows: the cryptoperiod counts from now."""
    bench = KeyBench()
    keys = [ImportedKey(Algorithm.AES_256_GCM, Material(bytes([n]) * 32), f"v{n}") for n in (1, 2)]
    bench.shelf.own = Imported(tuple(keys), encrypting=1)
    assert bench.rotate().decision == Wait(ANY, ANY)
    report = bench.ask(partial(adopt, None, None))
    assert isinstance(report.outcome, Finished), report
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}
    assert bench.shelf.writes == 0
    assert len(bench.backups) == 1
    assert isinstance(bench.rotate().decision, Wait)
    assert bench.ask(partial(adopt, None, None)).failure is not None


def test_two_keys_that_are_the_same_are_not_taken_over() -> None:
    """Which of them ciphertext names could not be told."""
    bench = KeyBench()
    key = ImportedKey(Algorithm.AES_256_GCM, Material(bytes(32)))
    bench.shelf.own = Imported((key, key), encrypting=0)
    report = bench.ask(partial(adopt, None, None))
    assert isinstance(report.outcome, RolledBack)
    assert "keys 1 and 2 are the same" in report.outcome.because
    assert bench.states() == {}


def test_everything_is_wrapped_anew_after_a_kek_was_rotated(bench: KeyBench) -> None:
    """Then its old version may go; the data keys are the same."""
    bench.tick(90 * DAY)
    before = bench.world().keyring().key_set()
    bench.kek.rotate()
    assert isinstance(bench.ask(rewrap).outcome, Finished)
    del bench.kek.versions[0]
    assert bench.world().keyring().key_set() == before
    assert bench.states() == {1: DECRYPTS, 2: ACTIVE}


def test_without_that_the_old_version_of_a_kek_is_needed(bench: KeyBench) -> None:
    """The negative control; and there is nothing to wrap before the first key."""
    bench.kek.rotate()
    del bench.kek.versions[0]
    with pytest.raises(Unreadable):
        bench.world().keyring()
    assert KeyBench().ask(rewrap).failure is not None


def test_a_hold_outlives_what_is_done_by_hand_meanwhile(bench: KeyBench) -> None:
    """Who went back, and then has the outputs written, has not asked for the key again."""
    bench.tick(90 * DAY)
    assert isinstance(rollback(bench, bench.runner, None).outcome, Finished)
    assert isinstance(bench.ask(redeliver).outcome, Finished)
    decision = bench.tick(timedelta(hours=1)).decision
    assert isinstance(decision, Postpone)
    assert decision.code == "hold"
    assert isinstance(bench.tick(DAY).outcome, Finished)


def test_a_custodian_who_left_is_not_forgotten_by_a_failure(bench: KeyBench) -> None:
    """Only a new key ends what the old one had to be replaced for."""
    bench.with_policy(custodians=frozenset({"ann", "bob"}))
    assert isinstance(bench.rotate(Asked(forced=True)).outcome, Finished)
    bench.with_policy(custodians=frozenset({"ann"}))
    bench.apps["worker"].broken = True
    assert isinstance(bench.rotate().outcome, RolledBack)
    bench.apps["worker"].broken = False
    decision = bench.rotate(HAND).decision
    assert isinstance(decision, Rotate)
    assert bench.attempts().custodians == frozenset({"ann"})


def test_a_compromise_that_is_undone_is_not_forgotten(bench: KeyBench) -> None:
    """The next try replaces the key for the same reason, and marks it."""
    bench.apps["worker"].broken = True
    report = bench.ask(partial(compromise, 1, "a laptop was stolen"))
    assert isinstance(report.outcome, RolledBack)
    bench.apps["worker"].broken = False
    report = bench.tick(timedelta(hours=2))
    assert isinstance(report.outcome, Finished), report
    assert report.decision is not None
    assert report.decision.code == "compromised"
    assert bench.states() == {1: State.COMPROMISED, 2: ACTIVE}
    assert bench.attempts().suspect is None
