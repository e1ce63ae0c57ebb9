"""A rotation brings what is stored under the new key, and the old one goes only after a census."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certrotd.codecs.tink import Tink
from certrotd.datasets import configured
from certrotd.datasets.configured import Opened
from certrotd.datasets.replica_lag import Lag, ReplicaLag
from certrotd.datasets.sql import SqlDataset
from certrotd.keyring.keyring import Keyring
from certrotd.keyring.states import State
from certrotd.keys import reencrypting
from certrotd.keys.rotation import reencrypt
from certrotd.lifecycle.decision import Wait
from certrotd.rotation.engine import Finished, Parked, RolledBack
from tests.unit.keys.rings import DAY, FORCED, Rings, why_not

TINK = Tink()


class Killed(BaseException):
    """The process is gone."""


class Shop:
    """A host whose keyring has a table of a SQLite database as a dataset."""

    def __init__(self, rings: Rings) -> None:
        self.rings = rings
        self.path = rings.place / "app.db"
        self.entry: dict[str, Any] = {"type": "sql", "url": f"sqlite:///{self.path}", "table": "t"}
        self.entry |= {"columns": ["secret"], "associated_data": "{table}/{pk}", "batch": 10}
        rings.orders["datasets"] = {"rows": self.entry}
        rings.done()
        self.execute("create table t (id integer primary key, secret blob, note text)")
        for number in range(35):
            self.execute("insert into t values (?, ?, 'note')", number, self.sealed(number))

    def execute(self, sql: str, *told: object) -> list[Any]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql, told).fetchall()

    def keyring(self) -> Keyring:
        with self.rings.keyring() as found:
            kept = found.store.read()
            assert kept is not None
            return kept.keyring

    def sealed(self, number: int) -> bytes:
        key = self.keyring().key_set().encrypting
        return TINK.encrypt(f"value {number}".encode(), key, f"t/{number}".encode())

    def under(self, version: int) -> int:
        """How many values a version opens, each to what it was."""
        key, count = self.keyring().key(version), 0
        key_id = TINK.key_id_for(key)
        for number, secret, note in self.execute("select * from t"):
            assert note == "note"
            if secret and TINK.key_id_of(secret) == key_id:
                assert (
                    TINK.decrypt(secret, key, f"t/{number}".encode()) == f"value {number}".encode()
                )
                count += 1
        return count


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """With a first key, and 35 values under it; then a second one is active."""
    shop = Shop(Rings(tmp_path))
    assert shop.under(1) == 35
    shop.rings.clock.advance(DAY)
    shop.rings.done(FORCED)
    assert shop.rings.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}
    return shop


def test_after_the_activation_everything_is_reencrypted_and_counted(shop: Shop) -> None:
    """Then the old key is retired, by the census of the database."""
    report = shop.rings.done()
    assert report.decision is not None
    assert report.decision.act == "re-encrypt"
    assert (shop.under(1), shop.under(2)) == (0, 35)
    assert isinstance(report.outcome, Finished)
    told = report.outcome.facts["census of rows"]
    assert told == {
        "under": {"1": 0, "2": 35}, "plaintext": 0, "by": "by the beginnings of ciphertext",
        "told": "35 values of rows under version 2",
    }  # fmt: skip
    with shop.rings.keyring() as keyring:
        census = keyring.look().census
    assert census[1]["rows"].left == 0
    shop.rings.done()
    assert shop.rings.states() == {1: State.RETIRED, 2: State.ACTIVE}
    assert isinstance(shop.rings.rotate().decision, Wait)


def test_a_kill_in_the_middle_loses_nothing_and_the_next_run_ends_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the third batch; what was written is not written again."""
    right = SqlDataset.replace
    written: list[int] = []

    def kill(self: SqlDataset, changes: Any) -> int:
        if len(written) == 2:
            raise Killed
        written.append(len(changes))
        return right(self, changes)

    monkeypatch.setattr(SqlDataset, "replace", kill)
    with pytest.raises(Killed):
        shop.rings.rotate()
    assert (shop.under(1), shop.under(2)) == (15, 20)
    monkeypatch.setattr(SqlDataset, "replace", right)
    assert isinstance(shop.rings.rotate().recovered, Finished)
    assert (shop.under(1), shop.under(2)) == (0, 35)


def test_what_it_encrypts_counts_towards_what_a_key_may(shop: Shop) -> None:
    """Messages and bytes, beside those that applications report."""
    before = shop.keyring().entries[2].use
    shop.rings.done()
    after = shop.keyring().entries[2].use
    assert (before.messages, after.messages) == (0, 35)
    assert after.bytes == sum(len(f"value {number}") for number in range(35))
    assert after.last == shop.rings.clock.now()
    assert shop.keyring().entries[1].use == before


def test_what_it_encrypted_before_a_kill_counts_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the last checkpoint says, and never twice once it has ended."""
    right = SqlDataset.replace
    written: list[int] = []

    def kill(self: SqlDataset, changes: Any) -> int:
        if len(written) == 2:
            raise Killed
        written.append(len(changes))
        shop.rings.clock.advance(timedelta(seconds=2))
        return right(self, changes)

    write = reencrypting.Checkpoints.write

    def write_unless_killed(self: reencrypting.Checkpoints, words: str | None = None) -> None:
        if len(written) < 2 or self._pass.messages:
            write(self, words)

    with monkeypatch.context() as patched:
        patched.setattr(SqlDataset, "replace", kill)
        patched.setattr(reencrypting.Passes, "count", lambda *_: None)  # it is gone by then
        patched.setattr(reencrypting.Checkpoints, "write", write_unless_killed)
        with pytest.raises(Killed):
            shop.rings.rotate()
    assert shop.keyring().entries[2].use.messages == 0
    assert isinstance(shop.rings.rotate().recovered, Finished)
    assert shop.keyring().entries[2].use.messages == 35


def test_a_key_does_not_encrypt_more_than_it_may(shop: Shop) -> None:
    """Else the next rotation would be due at once, and everything re-encrypted for ever."""
    shop.rings.orders["rotate"] = {"messages": 20}
    why = why_not(shop.rings.rotate())
    assert "re-encrypting 35 rows of rows would take key version 2 over the 20 messages" in why
    assert shop.under(1) == 35
    shop.rings.orders["rotate"] = {"messages": 40}
    shop.rings.clock.advance(10 * DAY)
    shop.rings.done()
    assert shop.under(2) == 35


def test_a_replica_that_stays_behind_parks_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was done before kept; it goes on once the replica has everything."""
    lags = [None, None, *[Lag("db2", 3.0)] * 500]
    monkeypatch.setattr(ReplicaLag, "excess", lambda *_: lags.pop(0) if lags else None)
    right = configured.opened

    @contextmanager
    def opened(*told: Any) -> Iterator[Opened]:
        with right(*told) as place:
            yield replace(place, replicas=ReplicaLag(None, 1.0))  # type: ignore[arg-type]

    monkeypatch.setattr(configured, "opened", opened)
    report = shop.rings.rotate()
    assert isinstance(report.outcome, Parked)
    assert "the replica db2 is 3 s behind" in report.outcome.why
    assert (shop.under(1), shop.under(2)) == (15, 20)
    assert "the replica db2 is 3 s behind" in str(shop.rings.view().flight)
    lags.clear()
    shop.rings.clock.advance(timedelta(minutes=5))
    assert isinstance(shop.rings.rotate().recovered, Finished)
    assert shop.under(2) == 35


def test_what_does_not_open_stops_it_and_keeps_the_old_key(shop: Shop) -> None:
    """The value, its row and the reason are named; nothing of it changes."""
    moved = shop.execute("select secret from t where id = 3")[0][0]
    shop.execute("update t set secret = ? where id = 4", moved)
    report = shop.rings.rotate()
    assert isinstance(report.outcome, RolledBack)
    assert "secret of row 4: the ciphertext does not open" in why_not(report)
    assert report.outcome.left == "what was re-encrypted stays so"
    assert shop.execute("select secret from t where id = 4")[0][0] == moved
    shop.rings.clock.advance(10 * DAY)
    assert why_not(shop.rings.rotate())
    assert shop.rings.states()[1] is State.DECRYPT_ONLY
    shop.execute("delete from t where id = 4")
    shop.rings.clock.advance(10 * DAY)
    shop.rings.done()
    assert shop.under(2) == 34


def test_a_database_that_is_away_is_waited_for(shop: Shop) -> None:
    """The rotation is parked, and can be cancelled."""
    away = shop.path.rename(shop.path.with_name("away"))
    report = shop.rings.rotate()
    assert isinstance(report.outcome, Parked)
    assert "unable to open database file" in report.outcome.why
    away.rename(shop.path)
    shop.rings.clock.advance(timedelta(minutes=5))
    assert isinstance(shop.rings.rotate().recovered, Finished)
    assert shop.under(2) == 35


def test_a_parked_one_is_cancelled_and_both_keys_still_decrypt(shop: Shop) -> None:
    """Nothing is written back."""
    shop.path.rename(shop.path.with_name("away"))
    assert isinstance(shop.rings.rotate().outcome, Parked)
    assert isinstance(shop.rings.cancel().recovered, RolledBack)
    assert shop.rings.states() == {1: State.DECRYPT_ONLY, 2: State.ACTIVE}


def test_the_process_stops_after_the_batch(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one goes on."""
    right = SqlDataset.replace

    def stop(self: SqlDataset, changes: Any) -> int:
        monkeypatch.setattr(shop.rings.clock, "stopping", lambda: True)
        return right(self, changes)

    monkeypatch.setattr(SqlDataset, "replace", stop)
    assert isinstance(shop.rings.rotate().outcome, Parked)
    assert shop.under(2) == 10
    monkeypatch.setattr(SqlDataset, "replace", right)
    monkeypatch.setattr(shop.rings.clock, "stopping", lambda: False)
    assert isinstance(shop.rings.rotate().recovered, Finished)
    assert shop.under(2) == 35


def test_a_library_that_is_missing_is_noticed_before_a_key_is_made(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the application has the new key, and what is stored can never come under it."""
    before = shop.keyring().versions
    monkeypatch.setattr(configured, "installed", lambda _module: False)
    why = why_not(shop.rings.rotate(FORCED))
    assert "the dataset rows needs the Python module sqlalchemy, which is not installed" in why
    assert "pip install '.[sql]'" in why
    assert shop.keyring().versions == before


def test_an_empty_table_is_no_evidence(shop: Shop) -> None:
    """Unless the operator says that it may be empty."""
    shop.execute("delete from t")
    assert "holds no value at all" in why_not(shop.rings.rotate())
    assert shop.rings.states()[1] is State.DECRYPT_ONLY
    shop.entry["may_be_empty"] = True
    shop.rings.done()
    shop.rings.done()
    assert shop.rings.states()[1] is State.RETIRED


def test_a_table_that_forbids_it_is_not_written(shop: Shop) -> None:
    """Here by a key that is not unique."""
    shop.entry |= {"key": ["note"], "associated_data": None}
    assert "rows would be left out" in why_not(shop.rings.rotate())
    assert shop.under(1) == 35


def test_it_is_asked_for_by_hand_too(shop: Shop) -> None:
    """Whatever was counted; not where there is nothing to re-encrypt."""
    shop.rings.done()
    shop.execute("insert into t values (99, null, 'note')")
    assert isinstance(shop.rings.ask(reencrypt).outcome, Finished)
    del shop.rings.orders["datasets"]
    assert "no dataset that certrotd re-encrypts" in why_not(shop.rings.ask(reencrypt))


def test_advice_of_the_database_is_shown_beside_the_progress(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for ten times in a pass at most, as the table grows with every batch."""
    asked: list[int] = []

    def advice(_self: SqlDataset) -> str:
        asked.append(1)
        return "run VACUUM t"

    monkeypatch.setattr(SqlDataset, "advice", advice)
    shop.entry |= {"batch": 1, "pause_ms": 1500}
    written: list[int] = []
    right = SqlDataset.replace

    def stop(self: SqlDataset, changes: Any) -> int:
        if len(written) == 30:
            raise Killed
        written.append(len(changes))
        return right(self, changes)

    monkeypatch.setattr(SqlDataset, "replace", stop)
    with pytest.raises(Killed):
        shop.rings.rotate()
    assert len(asked) == 7  # every fourth of 35 rows, of 30
    assert "left; run VACUUM t (" in str(shop.rings.view().flight)


def test_the_daemon_looks_for_ciphertext_that_no_dataset_has(shop: Shop) -> None:
    """By the watching room, from when a key is replaced on; what it finds keeps the key."""
    shop.execute("create table audit as select secret as old from t limit 1")

    def findings() -> list[str]:
        with shop.rings.keyring() as keyring:
            [looked] = keyring.check(60).look()
            return [f.words for f in looked.watched.findings if f.kind == "undeclared_ciphertext"]

    [found] = findings()
    assert "audit.old: it is tink and names the key of version 1" in found
    shop.rings.done()
    shop.rings.done()
    shop.rings.clock.advance(8 * DAY)
    assert findings() == [found]
    assert "is in no dataset" in shop.rings.view().why
    assert shop.rings.states()[1] is State.RETIRED
    shop.execute("drop table audit")
    shop.rings.clock.advance(4 * DAY)
    assert findings() == []
    shop.rings.done()
    assert shop.rings.states()[1] is State.DISABLED


def test_a_compromised_key_is_replaced_before_a_re_encryption_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets go of the keyring after its batch; then everything comes under the newest key."""
    right = SqlDataset.replace

    def leak(self: SqlDataset, changes: Any) -> int:
        with shop.rings.keyring() as keyring:
            keyring.suspicions.add(2, "a laptop was stolen")
        shop.rings.clock.advance(timedelta(seconds=2))
        return right(self, changes)

    monkeypatch.setattr(SqlDataset, "replace", leak)
    report = shop.rings.done()
    monkeypatch.setattr(SqlDataset, "replace", right)
    assert isinstance(report.outcome, Finished)
    assert "compromised key is replaced first" in str(report.outcome.facts["set aside"])
    assert (shop.under(1), shop.under(2)) == (25, 10)
    report = shop.rings.done()
    assert report.decision is not None
    assert report.decision.code == "compromised"
    assert shop.rings.states() == {
        1: State.DECRYPT_ONLY, 2: State.COMPROMISED, 3: State.ACTIVE,
    }  # fmt: skip
    assert shop.rings.done().decision.act == "re-encrypt"  # type: ignore[union-attr]
    assert (shop.under(1), shop.under(2), shop.under(3)) == (0, 0, 35)


def test_a_compromise_without_room_does_not_stop_the_re_encryption_that_makes_it(
    shop: Shop,
) -> None:
    """Else both would wait for ever; what was refused is remembered."""
    variables = {"key": "KEY", "previous": "OLD", "capacity": 2}
    shop.rings.orders["outputs"] = [
        {"type": "dotenv", "path": str(shop.rings.place / ".env"), **variables}
    ]
    shop.rings.orders["grace"] = "0d"
    with shop.rings.keyring() as keyring:
        keyring.suspicions.add(2, "a laptop was stolen")
        assert keyring.policy.capacity == 2
    acts = []
    for _ in range(8):
        shop.rings.clock.advance(timedelta(minutes=1))
        with shop.rings.keyring() as keyring:
            keyring.residues.scan()
        report = shop.rings.rotate()
        acts.append(report.decision.act if report.decision else "")
        if shop.rings.states()[2] is State.COMPROMISED:
            break
    assert [each for each in acts if each in ("re-encrypt", "retire", "disable", "rotate")] == [
        "re-encrypt", "retire", "disable", "rotate",
    ]  # fmt: skip


def test_a_checkpoint_of_other_rows_is_no_position(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration was edited while the process was down: nothing is left out."""
    right = SqlDataset.replace

    def kill(self: SqlDataset, changes: Any) -> int:
        shop.rings.clock.advance(timedelta(seconds=2))
        if changes[0].row.key > (15,):
            raise Killed
        return right(self, changes)

    with monkeypatch.context() as patched:
        patched.setattr(SqlDataset, "replace", kill)
        with pytest.raises(Killed):
            shop.rings.rotate()
    assert shop.under(2) == 20
    shop.execute("alter table t add column shop text not null default 'a'")
    shop.execute("create unique index both on t (shop, id)")
    shop.entry |= {"key": ["shop", "id"], "associated_data": "{table}/{id}"}
    assert isinstance(shop.rings.rotate().recovered, Finished)
