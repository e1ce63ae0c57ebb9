"""A re-encryption in shards is as one by one process: the census alone says when it is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.clock import Deadline
from certrotd.datasets.shards import Run
from certrotd.datasets.sql import SqlDataset
from certrotd.datasets.sql_checkpoints import SqlLease
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.states import State
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.keys.shard_waiting import Wanted, work_when_open
from certrotd.keys.shard_work import Task, answer_of, perform, task_of, work_of
from certrotd.keys.stored_data import StoredData
from certrotd.rotation.engine import Finished, Parked, RolledBack
from certrotd.rotation.outcome import Stopped
from tests.fakes.workforce import FakeWorkforce, Work
from tests.unit.keys.rings import DAY, FORCED, Rings, why_not
from tests.unit.keys.test_reencrypting import Killed, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """With 35 values under the first key, which was replaced; in shards from now on."""
    shop = Shop(Rings(tmp_path))
    shop.rings.clock.advance(DAY)
    shop.rings.done(FORCED)
    shop.entry |= {"checkpoints": "table", "batch": 3}
    return shop


@pytest.fixture
def force(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> FakeWorkforce:
    """Two workers, who may all write: SQLite has one at a time, and here there is."""
    monkeypatch.setattr(SqlDataset, "one_writer", False)

    def work(told: Mapping[str, Any]) -> Mapping[str, Any]:
        json.dumps(told)
        with shop.rings.keyring() as keyring:
            return perform(keyring.stored, Task(**told), shop.rings.clock, "worker").to_json()

    force = FakeWorkforce(work)
    right = ConfiguredKeyring.world

    def world(self: ConfiguredKeyring) -> Any:
        self.workers = lambda: force
        return right(self)

    monkeypatch.setattr(ConfiguredKeyring, "world", world)
    return force


def shards(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.execute("select state, seen from certrotd_checkpoints order by shard")


def wrapped(force: FakeWorkforce, change: Callable[[Work, Mapping[str, Any]], Any]) -> None:
    """Something happens to every task."""
    right = force.work
    force.work = lambda told: change(right, told)


def test_one_process_keeps_its_checkpoints_in_the_table(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from them after a kill, and the census is what is reported."""
    right, written = SqlDataset.replace, list[Any]()

    def kill(self: SqlDataset, changes: Any) -> int:
        if len(written) == 5:
            raise Killed
        written.extend(each.row.key for each in changes[:1])
        return right(self, changes)

    monkeypatch.setattr(SqlDataset, "replace", kill)
    with pytest.raises(Killed):
        shop.rings.rotate()
    assert shards(shop) == [("paused", 15)]
    written.clear()

    def count(self: SqlDataset, changes: Any) -> int:
        written.append(changes)
        return right(self, changes)

    monkeypatch.setattr(SqlDataset, "replace", count)
    report = shop.rings.rotate()
    assert isinstance(report.recovered, Finished)
    assert len(written) == 7, "20 rows in batches of three"
    assert (shop.under(1), shop.under(2)) == (0, 35)
    told: Any = report.recovered.facts["census of rows"]
    assert told["under"] == {"1": 0, "2": 35}
    assert shop.rings.states() == {1: State.RETIRED, 2: State.ACTIVE}


@pytest.mark.parametrize("where", ["table", "journal"])
def test_workers_take_every_shard_and_those_of_a_worker_that_is_lost(
    shop: Shop, force: FakeWorkforce, where: str
) -> None:
    """Of each shard, the worker that has it first dies after its first batch."""
    shop.entry["checkpoints"] = where
    died: set[int] = set()

    def die(work: Work, told: Mapping[str, Any]) -> Any:
        if told["number"] in died:
            return work(told)
        died.add(told["number"])
        with pytest.MonkeyPatch.context() as patched:
            right, written = SqlDataset.replace, list[Any]()

            def kill(self: SqlDataset, changes: Any) -> int:
                if written:
                    raise Killed
                written.append(changes)
                return right(self, changes)

            patched.setattr(SqlDataset, "replace", kill)
            patched.setattr(SqlLease, "release", lambda _self: None)  # it has no time to
            with pytest.raises(Killed):
                work(told)
        shop.execute("update certrotd_checkpoints set held_until = 1") if where == "table" else None
        raise Transient("a worker is gone")

    wrapped(force, die)
    report = shop.rings.done()
    assert report.decision is not None
    assert report.decision.act == "re-encrypt"
    assert (shop.under(1), shop.under(2)) == (0, 35)
    assert sorted(died) == list(range(8)), "four for each worker"
    text = json.dumps([each.to_json() for each in force.tasks])
    for secret in shop.rings.secrets().values():
        assert secret.hex() not in text
    with shop.rings.keyring() as keyring:
        assert keyring.look().census[1]["rows"].left == 0


def test_what_workers_say_they_did_is_no_evidence(shop: Shop, force: FakeWorkforce) -> None:
    """Without a table, they may say what they like: the census finds the rows, again and again."""
    shop.entry["checkpoints"] = "journal"
    wrapped(force, lambda _work, told: {"done": True, "seen": 35})
    report = shop.rings.rotate()
    assert isinstance(report.outcome, Parked)
    assert "35 values of rows are under an old key after 3 passes" in report.outcome.why
    assert force.entered == 3


def test_a_stretch_ends_by_its_time_and_the_next_goes_on(shop: Shop, force: FakeWorkforce) -> None:
    """So nobody works for longer without being asked; what was done is in the journal."""
    shop.entry |= {"checkpoints": "journal", "shards": 2, "pause_ms": 20_000}
    shop.rings.done()
    assert (shop.under(1), shop.under(2)) == (0, 35)
    first = [each for each in force.tasks if each.number == 0]
    assert [each.seen for each in first] == [0, 3, 6, 9, 12, 15, 17]
    assert [each.after for each in first[:3]] == [None, [2], [5]]


def test_a_failure_of_a_worker_is_that_of_the_step(shop: Shop, force: FakeWorkforce) -> None:
    """At once where trying again does not help; else after some tries it is parked."""

    def broken(_work: Work, _told: Mapping[str, Any]) -> Any:
        raise NeedsOperator("the worker has no configuration", hint="give it one")

    wrapped(force, broken)
    assert "the worker has no configuration (give it one)" in why_not(shop.rings.rotate())
    states = {state for state, _ in shards(shop)}
    assert states == {"paused"}, "nobody works on it any more"

    def away(_work: Work, _told: Mapping[str, Any]) -> Any:
        raise Transient("the database is away")

    shop.rings.clock.advance(10 * DAY)
    wrapped(force, away)
    report = shop.rings.rotate()
    assert isinstance(report.outcome, Parked)
    assert "the database is away" in report.outcome.why
    force.count = 0
    force.work = lambda _told: {"free": False}
    shop.rings.clock.advance(DAY)
    recovered = shop.rings.rotate().recovered
    assert isinstance(recovered, Parked)
    assert "no worker re-encrypts rows: none is left" in recovered.why


def test_a_worker_with_other_keys_writes_nothing(shop: Shop) -> None:
    """It has an old configuration, or none of the newest rotation."""
    with (
        shop.rings.keyring() as keyring,
        pytest.raises(Transient, match="version 2 of the keyring is active here, and 3 is asked"),
    ):
        perform(keyring.stored, Task("rows", 0, 3, "r.0"), shop.rings.clock, "worker")


@pytest.mark.parametrize("other", ["configuration", "key"])
def test_a_worker_of_another_configuration_or_keyring_writes_nothing(
    shop: Shop, force: FakeWorkforce, other: str
) -> None:
    """A copy of the keyring went its own way: what it wrote, nobody else could read."""

    right = StoredData.keyring

    def copied(self: StoredData) -> Keyring:
        keyring = right(self)
        entry = replace(keyring.entries[2], fingerprint="of another key")
        return replace(keyring, entries={**keyring.entries, 2: entry})

    def elsewhere(work: Work, told: Mapping[str, Any]) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            if other == "configuration":
                patch.setitem(shop.entry, "where", "id < 5")
            else:
                patch.setattr(StoredData, "keyring", copied)
            return work(told)

    wrapped(force, elsewhere)
    words = "this worker has another configuration of rows, or another key of that number"
    assert words in why_not(shop.rings.rotate())
    assert (shop.under(1), shop.under(2)) == (35, 0)


def test_what_does_not_open_is_told_as_by_one_process(shop: Shop, force: FakeWorkforce) -> None:
    """Counted by the census."""
    moved = shop.execute("select secret from t where id = 3")[0][0]
    shop.execute("update t set secret = ? where id in (4, 30)", moved)
    report = shop.rings.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert "2 values of rows cannot be re-encrypted: secret of row 4" in why_not(report)
    assert "secret of row 30" in why_not(report)


def test_a_pod_waits_for_its_shard_and_works_on_no_other(shop: Shop) -> None:
    """Then the coordinator finds nothing left there."""
    shop.entry["shards"] = 2
    stored: Any

    def shard(number: int) -> Wanted:
        return Wanted("rows", number, "pod", Deadline(shop.rings.clock, 60.0))

    clock = shop.rings.clock
    with shop.rings.keyring() as keyring:
        stored = keyring.stored
        said: list[str] = []
        with pytest.raises(Transient, match="no re-encryption of rows has begun"):
            work_when_open(stored, shard(0), clock, lambda: False, said.append)
        assert said == ["rows: nothing has begun: waiting"]
        with pytest.raises(Stopped):
            work_when_open(stored, shard(0), clock, lambda: True)
        with stored.open("rows") as opened:
            kept = opened.dataset.checkpoints("orders/rows")
            kept.prepare()
            other = Run("r.0.other", 2)
            kept.open(other, lambda: opened.dataset.divided(2, ()), 2)
            with pytest.raises(NeedsOperator, match="this worker has another configuration of row"):
                work_when_open(stored, shard(0), clock, lambda: False)
            run = Run(f"r.0.{work_of(opened, stored.keyring(), 2)}", 2)
            kept.open(run, lambda: opened.dataset.divided(2, ()), 2)
        with pytest.raises(NeedsOperator, match="rows that runs has 2 shards"):
            work_when_open(stored, shard(2), clock, lambda: False)
        work_when_open(stored, shard(1), clock, lambda: False)
        assert (shop.under(1), shop.under(2)) == (17, 18)
        work_when_open(stored, shard(1), clock, lambda: False)  # it is done
        work_when_open(stored, shard(0), clock, lambda: False)
        work_when_open(stored, shard(2), clock, lambda: False)  # so is everything
    shop.rings.done()
    assert (shop.under(1), shop.under(2)) == (0, 35)


def test_a_pod_that_is_too_late_finds_its_shard_done(shop: Shop) -> None:
    """By the coordinator, which works on what nobody has."""
    shop.entry["shards"] = 5
    shop.rings.done()
    assert {state for state, _ in shards(shop)} == {"done"}
    with shop.rings.keyring() as keyring:
        wanted = Wanted("rows", 4, "pod", Deadline(shop.rings.clock, 60.0))
        work_when_open(keyring.stored, wanted, shop.rings.clock, lambda: False)
    shop.rings.clock.advance(timedelta(days=1))
    shop.rings.done(FORCED)  # a third key: now it is to be done again
    wanted = Wanted("rows", 4, "pod", Deadline(shop.rings.clock, 60.0))
    with shop.rings.keyring() as keyring, pytest.raises(Transient, match="has begun"):
        work_when_open(keyring.stored, wanted, shop.rings.clock, lambda: False)


def test_what_another_version_sends_is_said() -> None:
    """Machines that work together may not have been upgraded together."""
    for read in (task_of, answer_of):
        with pytest.raises(NeedsOperator, match="is of another version of certrotd"):
            read({"unknown": 1})
