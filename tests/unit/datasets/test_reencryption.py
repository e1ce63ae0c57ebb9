"""A pass over a dataset while others write into it, and the census before and after."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from certrotd.clock import ManualClock
from certrotd.codecs.wso2 import Wso2
from certrotd.datasets.census import BY_BEGINNING, BY_TRIAL, tally, unnamed
from certrotd.datasets.documents import JsonDocument
from certrotd.datasets.port import Busy, Key, Row
from certrotd.datasets.reencryption import TRIES, Pace, Pass, Position, Trial, trial
from certrotd.datasets.row_values import Batch, RowValues
from certrotd.datasets.values import Form, Leftover
from certrotd.errors import NeedsOperator, Transient
from certrotd.jsonpath import path_of
from certrotd.keyring.material import Algorithm, DataKey, KeySet, Material
from tests.fakes.datasets import MemoryDataset, Values
from tests.parts.process import wait_until
from tests.unit.datasets.test_values import FERNET, TINK, key_of, keys_of

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FORM = Form(TINK)


def old(text: str) -> bytes:
    return TINK.encrypt(text.encode(), key_of(TINK, 1))


def filled(count: int = 25) -> MemoryDataset:
    return MemoryDataset(content={(n,): (old(f"row {n}"),) for n in range(count)})


def plaintexts(dataset: MemoryDataset) -> dict[int, str]:
    """Every value by the key that it is under, which must be the active one."""
    return {
        int(key[0]): TINK.decrypt(value, key_of(TINK, 2)).decode()  # type: ignore[arg-type]
        for key, (value,) in dataset.content.items()
        if value is not None
    }


def passing(dataset: MemoryDataset, **more: object) -> Pass:
    clock = ManualClock(NOW)
    pace = Pace(batch=10)
    return Pass(dataset, FORM, keys_of(TINK), **{"clock": clock, "pace": pace, **more})  # type: ignore[arg-type]


def test_a_pass_leaves_nothing_under_an_old_key() -> None:
    """In batches of the size that was asked for; a second pass writes nothing."""
    dataset = filled()
    kept: list[Position] = []
    assert passing(dataset).run(keep=kept.append).count == 0
    assert plaintexts(dataset) == {n: f"row {n}" for n in range(25)}
    assert dataset.writes == [10, 10, 5]
    assert [each.seen for each in kept] == [10, 20, 25]
    passing(dataset).run()
    assert dataset.writes == [10, 10, 5]
    assert tally(dataset, FORM, keys_of(TINK)).by_version == {1: 0, 2: 25}


def test_a_concurrent_write_wins_and_is_looked_at_again() -> None:
    """Under the old key or the new one; what is deleted stays so, also in the first batch."""
    dataset = filled()
    theirs: list[dict[Key, Values]] = [
        {(3,): (old("theirs"),)},
        {(4,): (TINK.encrypt(b"newest", key_of(TINK, 2)),), (3,): (old("again"),)},
    ]

    def write() -> None:
        if theirs:
            dataset.content |= theirs.pop(0)
            dataset.content.pop((5,), None)

    dataset.before_write = write
    passing(dataset).run()
    expected = {n: f"row {n}" for n in range(25) if n != 5}
    assert plaintexts(dataset) == {**expected, 3: "again", 4: "newest"}


def test_a_row_that_others_never_stop_writing_is_left_to_them() -> None:
    """The pass ends, and the census tells."""
    dataset = filled(3)
    turn = iter(range(1000))

    def write() -> None:
        dataset.content[(1,)] = (old(f"theirs {next(turn)}"),)

    dataset.before_write = write
    passing(dataset).run()
    assert tally(dataset, FORM, keys_of(TINK)).by_version == {1: 1, 2: 2}


def test_a_pass_goes_on_behind_the_row_that_a_checkpoint_names() -> None:
    """What a crash cut off has done the rest."""
    dataset = filled()
    passing(dataset).run(Position((19,), 20))
    assert dataset.writes == [5]
    assert tally(dataset, FORM, keys_of(TINK)).by_version == {1: 20, 2: 5}


def test_what_does_not_open_is_listed_and_the_rest_is_done() -> None:
    """Each once, however often its row was looked at."""
    dataset = filled()
    dataset.content[(7,)] = (TINK.encrypt(b"x", key_of(TINK, 3)),)
    passed = passing(dataset).run()
    assert (passed.count, [each.key for each in passed.quarantined]) == (1, [(7,)])
    counted = tally(dataset, FORM, keys_of(TINK))
    assert (counted.by_version, counted.unopened) == ({1: 0, 2: 24}, 1)
    assert counted.left(1) == 1


def test_a_busy_batch_is_tried_again_and_not_for_ever() -> None:
    """The same batch, after naps."""
    dataset = filled()
    dataset.failing = [Busy("locked")] * 3
    passing(dataset).run()
    assert len(plaintexts(dataset)) == 25
    dataset = filled()
    dataset.failing = [Busy("locked")] * TRIES
    with pytest.raises(Busy):
        passing(dataset).run()


def test_a_failure_ends_the_pass_between_batches() -> None:
    """What is done is done."""
    dataset = filled()
    dataset.before_write = lambda: (
        dataset.failing.append(Transient("gone")) if dataset.writes else None
    )
    with pytest.raises(Transient, match="gone"):
        passing(dataset).run()
    assert dataset.writes == [10]


def test_the_next_batch_is_read_while_one_is_written() -> None:
    """And a position is kept only once its batch is written, whatever was read beyond it."""
    dataset, kept, reads = filled(), list[Position](), list[int]()
    dataset.reads_while_writing = True
    dataset.before_read = lambda: reads.append(1)

    def write() -> None:
        wait_until(lambda: len(reads) == len(dataset.writes) + 2)
        if len(dataset.writes) == 2:
            dataset.failing.append(Transient("gone"))

    dataset.before_write = write
    with pytest.raises(Transient, match="gone"):
        passing(dataset).run(keep=kept.append)
    assert (dataset.writes, [each.seen for each in kept]) == ([10, 10], [10, 20])
    dataset.before_write = lambda: None
    passing(dataset).run(kept[-1])
    assert plaintexts(dataset) == {n: f"row {n}" for n in range(25)}


class OneAtATime(Form):
    """Values that are not looked at by two threads at once; looking at them takes a while."""

    def values(self, keys: KeySet) -> RowValues:
        made, busy = super().values(keys), threading.Lock()
        look = made.reencrypted

        def reencrypted(rows: Sequence[Row]) -> Batch:
            assert busy.acquire(blocking=False), "another thread is at it"
            time.sleep(0.05)
            busy.release()
            return look(rows)

        made.reencrypted = reencrypted  # type: ignore[method-assign]
        return made


def test_what_others_wrote_is_not_encrypted_while_the_next_batch_is() -> None:
    """Processes that encrypt have one pipe each: two threads would mix up their rows."""
    dataset, reads = filled(), list[int]()
    dataset.reads_while_writing = True
    dataset.before_read = lambda: reads.append(1)
    theirs: list[dict[Key, Values]] = [{(3,): (old("theirs"),)}]

    def write() -> None:
        wait_until(lambda: len(reads) > 1)
        if theirs:
            dataset.content |= theirs.pop()

    dataset.before_write = write
    passed = Pass(dataset, OneAtATime(TINK), keys_of(TINK), ManualClock(NOW), Pace(batch=10)).run()
    assert passed.count == 0
    assert plaintexts(dataset)[3] == "theirs"


def test_what_fails_while_reading_ahead_ends_the_pass_after_the_batch() -> None:
    """The batch that is being written is done, and kept."""
    dataset, kept, reads = filled(), list[Position](), iter(range(99))
    dataset.reads_while_writing = True

    def read() -> None:
        if next(reads) == 1:
            raise Transient("gone")

    dataset.before_read = read
    with pytest.raises(Transient, match="gone"):
        passing(dataset).run(keep=kept.append)
    assert (dataset.writes, [each.seen for each in kept]) == ([10], [10])


def test_it_goes_no_faster_than_it_may() -> None:
    """Five batches of ten, at 20 rows a second."""
    clock = ManualClock(NOW)
    passing(filled(50), clock=clock, pace=Pace(10, 20)).run()
    assert clock.monotonic() == pytest.approx(2.5)


def test_it_rests_after_each_batch() -> None:
    """Once a batch, also where the rate alone would not ask for it."""
    clock = ManualClock(NOW)
    passing(filled(50), clock=clock, pace=Pace(10, 1000, pause=3)).run()
    assert clock.monotonic() == pytest.approx(15)


def test_batches_are_smaller_while_writing_takes_too_long_and_grow_again() -> None:
    """And it rests for as long as writing took; a server that is always slow gets one row."""
    clock, dataset = ManualClock(NOW), filled(200)
    slow = iter([0.3, 0.3, *[0.06] * 4, *[0.01] * 99])
    dataset.before_write = lambda: clock.sleep(next(slow))
    passing(dataset, clock=clock, pace=Pace(32, latency=0.1)).run()
    assert dataset.writes == [32, 16, 8, 8, 8, 8, 8, 16, 32, 32, 32]
    written = 0.3 * 2 + 0.06 * 4 + 0.01 * 5
    assert clock.monotonic() == pytest.approx(written + 0.3 * 2)
    dataset = filled(20)
    dataset.before_write = lambda: clock.sleep(9)
    passing(dataset, clock=clock, pace=Pace(8, latency=0.1)).run()
    assert dataset.writes == [8, 4, 2, 1, 1, 1, 1, 1, 1]
    assert len(plaintexts(dataset)) == 20


def test_reading_that_takes_long_makes_no_batch_smaller() -> None:
    """Behind a million rows that are done, a smaller batch would take as long."""
    clock, dataset = ManualClock(NOW), filled(30)
    rows = dataset.rows

    def slowly(*told: Any) -> Any:
        clock.sleep(60)
        return rows(*told)

    dataset.rows = slowly  # type: ignore[assignment, method-assign]
    passing(dataset, clock=clock, pace=Pace(10, latency=0.1)).run()
    assert dataset.writes == [10, 10, 10]


def test_the_estimate_knows_the_pauses() -> None:
    """Five of them, and the rate that is asked for."""
    clock = ManualClock(NOW)
    pace = Pace(10, pause=3)
    assert trial(filled(50), FORM, keys_of(TINK), pace, clock) == Trial(50, 30, 15, {0: 0})
    assert trial(filled(50), FORM, keys_of(TINK), Pace(10, 2), clock) == Trial(50, 30, 25, {0: 0})


def test_who_may_no_longer_write_does_not() -> None:
    """The lock is asked for before every write."""
    dataset = filled()

    def lost() -> None:
        if dataset.writes:
            raise NeedsOperator("another has the lock")

    with pytest.raises(NeedsOperator):
        passing(dataset, before=lost).run()
    assert dataset.writes == [10]


def test_the_census_counts_by_beginnings_or_by_trial() -> None:
    """And tells plaintext from what nobody can open."""
    dataset = filled(4)
    assert tally(dataset, FORM, keys_of(TINK)).method == BY_BEGINNING
    dataset.content[(9,)] = (b"plain text",)
    left = tally(dataset, Form(TINK, plaintext=Leftover.LEAVE), keys_of(TINK))
    assert (left.by_version, left.plaintext, left.unopened, left.total) == ({1: 4, 2: 0}, 1, 0, 5)
    assert tally(dataset, FORM, keys_of(TINK)).unopened == 1
    tokens: dict[Key, Values] = {
        (n,): (FERNET.encrypt(b"x", key_of(FERNET, 1 + n % 3)),) for n in range(9)
    }
    counted = tally(MemoryDataset(content=tokens), Form(FERNET), keys_of(FERNET))
    assert (counted.by_version, counted.unopened) == ({1: 3, 2: 3}, 3)
    assert counted.method == BY_TRIAL


class TestUnnamed:
    """Values that do not name their key: some applications do not read them beside a staged one."""

    KEY = DataKey(1, Algorithm.AES_256_GCM, Material(bytes(32)))
    NAMED = Wso2().encrypt(b"x", KEY)
    BARE = Wso2(key_ids=False).encrypt(b"x", KEY)

    def test_values_without_a_key_id_are_counted_and_those_with_one_are_not(self) -> None:
        """Empty ones are none; of what is no ciphertext nobody knows."""
        rows = (self.NAMED, self.BARE), (None, b""), (b"no ciphertext", None), (self.BARE, None)
        content: dict[Key, Values] = {(number,): values for number, values in enumerate(rows)}
        assert unnamed(MemoryDataset(content=content), Form(Wso2())) == 3
        assert unnamed(MemoryDataset(content={(1,): (self.NAMED,)}), Form(Wso2())) == 0

    def test_those_in_documents_are_looked_at(self) -> None:
        """At their paths alone; of what is no JSON nobody knows."""
        form = Form(Wso2(), documents={0: JsonDocument((path_of("$.a[*]"),))})
        value = f'{{"a": ["{self.BARE.decode()}", "", "{self.NAMED.decode()}"], "b": "x"}}'
        content: dict[Key, Values] = {(1,): (value.encode(),), (2,): (b"no JSON",)}
        assert unnamed(MemoryDataset(content=content), form) == 2
