"""Values are re-encrypted by several processes, as soon as that pays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.patterns import WholePattern
from certrotd.datasets.keys import AssociatedData
from certrotd.datasets.port import Row
from certrotd.datasets.process_pool import Spread, processes_for, row_values
from certrotd.datasets.row_values import Quarantined, Seen
from certrotd.datasets.values import Form
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.material import DataKey, KeySet
from tests.parts.process import wait_until
from tests.unit.datasets.test_values import CBC, FERNET, OF_APP, PIN, TINK, cbc_key, key_of, keys_of

BINDS = AssociatedData("{table}/{pk}", "t", ("v",), ("id",)).of


class Broken(FernetTokens):
    """A codec with an error of its own."""

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        raise ZeroDivisionError


def rows(count: int = 10) -> list[Row]:
    """Under the first key, and one that nobody can open."""
    made = [
        Row((n,), (TINK.encrypt(b"row %d" % n, key_of(TINK, 1), b"t/%d" % n),), read=n)
        for n in range(count)
    ]
    return [*made, Row((count,), (TINK.encrypt(b"x", key_of(TINK, 1), b"elsewhere"),), count)]


@pytest.fixture
def spread() -> Iterator[Spread]:
    """Three processes."""
    with row_values(Form(TINK, BINDS, travels=True), keys_of(TINK), 3) as values:
        yield values


def children(values: Spread) -> list[int]:
    """Their ids."""
    return [each._process.pid for each in values._children]


def alive(pid: int) -> bool:
    """Whether there is such a process, one that ended and was not waited for apart."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_rows_come_back_as_one_process_makes_them(spread: Spread) -> None:
    """In order, with what each was read as; what does not open is reported."""
    told = rows()
    batch = spread.reencrypted(told)
    assert [each.row for each in batch.changes] == told[:10]
    for number, change in enumerate(batch.changes):
        [new] = change.values
        assert new is not None
        assert TINK.decrypt(new, key_of(TINK, 2), b"t/%d" % number) == b"row %d" % number
    assert [each.key for each in batch.quarantined] == [(10,)]
    assert (batch.messages, batch.size) == (10, sum(len(b"row %d" % n) for n in range(10)))
    seen = list(spread.looked_at(told))
    assert seen[:10] == [Seen(1)] * 10
    assert isinstance(seen[10], Quarantined)
    assert spread.reencrypted([]).changes == ()
    assert len(spread.reencrypted(told[:1]).changes) == 1


def test_no_key_is_where_others_can_see_it(spread: Spread) -> None:
    """Neither in the arguments nor in the environment; the processes can be looked at meanwhile."""
    secret = key_of(TINK, 1).material.reveal()
    for pid in children(spread):
        shown = (
            Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        )
        assert secret not in shown
        assert secret.hex().encode() not in shown


def test_a_process_that_is_killed_ends_the_pass_and_leaves_none(spread: Spread) -> None:
    """It is tried again later: nothing was written."""
    ids = children(spread)
    os.kill(ids[1], signal.SIGKILL)
    with pytest.raises(Transient, match="a process that encrypts has ended"):
        spread.reencrypted(rows())
    spread.close()
    assert not any(map(alive, ids))


def test_the_processes_end_with_the_one_that_they_work_for() -> None:
    """However that ends: here without closing anything."""
    program = f"""
import os, signal
from {__name__} import *
with row_values(Form(TINK, BINDS, travels=True), keys_of(TINK), 2) as values:
    values.reencrypted(rows())
    print(*children(values), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    assert ran.returncode == -signal.SIGKILL
    ids = list(map(int, ran.stdout.split()))
    assert len(ids) == 2
    wait_until(lambda: not any(map(alive, ids)))


def test_an_error_of_a_codec_names_itself() -> None:
    """It is no reason to try again."""
    with (
        row_values(Form(Broken(), travels=True), keys_of(FERNET), 1) as values,
        pytest.raises(NeedsOperator, match="ZeroDivisionError"),
    ):
        values.reencrypted([Row((1,), (FERNET.encrypt(b"x", key_of(FERNET, 1)),), None)])


def test_what_cannot_be_pickled_stays_in_this_process() -> None:
    """As files do, whose values are large."""
    with row_values(Form(TINK, lambda _key, _field: b""), keys_of(TINK), 3) as values:
        assert not children(values)
        assert len(values.reencrypted(rows()[:1]).quarantined) == 1


def test_processes_begin_once_rows_have_cost_a_second() -> None:
    """And as many as the cost of one is worth, however long the pass is."""
    spent = iter([0.0, 0.9, 0.9, 1.2, 1.2])
    with row_values(
        Form(TINK, BINDS, travels=True), keys_of(TINK), worked=lambda: next(spent)
    ) as values:
        for expected in (0, min(len(os.sched_getaffinity(0)), 4) if processes() else 0):
            values.reencrypted(rows())
            assert len(children(values)) == expected
        assert len(values.reencrypted(rows()).changes) == 10


def processes() -> bool:
    return len(os.sched_getaffinity(0)) > 1


@pytest.mark.parametrize(
    ("rows", "seconds", "cores", "count"),
    [
        (1000, 0.9, 8, 0),  # too little to be worth it
        (200_000, 1.0, 8, 0),  # 5 µs: Tink
        (40_000, 1.0, 8, 3),  # 25 µs: Fernet
        (28_000, 1.0, 2, 2),  # 36 µs: Laravel
        (28_000, 1.0, 64, 4),
        (400, 1.0, 64, 4),  # 2.5 ms: PBKDF2
        (400, 1.0, 1, 0),  # nobody to share with
    ],
)
def test_the_cost_of_a_row_says_how_many(rows: int, seconds: float, cores: int, count: int) -> None:
    assert processes_for(rows, seconds, cores) == count


def test_other_processes_know_which_key_the_application_has_too() -> None:
    """Of ciphertext that tells none, it would come out as gibberish."""
    keys = KeySet.of([cbc_key(1), cbc_key(2)], active=2, held=1)
    form = Form(CBC, expects={0: PIN}, others=WholePattern(b"other"), travels=True)
    told = [
        Row((0,), (OF_APP.encrypt(b"1234", cbc_key(1)),), read=0),
        Row((1,), (CBC.encrypt(b"1234", cbc_key(2)),), read=1),
        Row((2,), (b"other",), read=2),
    ]
    with row_values(form, keys, 1) as values:
        assert values.looked_at(told) == [Seen(1), Seen(2)]
        [change] = values.reencrypted(told).changes
    assert change.row.key == (0,)
    assert OF_APP.decrypt(change.values[0] or b"", cbc_key(2)) == b"1234"
