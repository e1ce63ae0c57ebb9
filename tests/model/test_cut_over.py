"""A cut-over is killed at every access to its state, its data and its application.

The next process ends it: all of it old or all of it new, and the application reads. With
CERTROTD_DEMAND=all it is killed twice at more pairs of such moments.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from certrotd.codecs.port import Codec
from certrotd.errors import NeedsOperator
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.lifecycle.decision import Asked
from certrotd.rotation.engine import Stuck
from tests.fakes.keyrings import Killed
from tests.fakes.one_key import CBC, CFB, ROWS, TINK, CutOverBench
from tests.model.test_keyrings import KillingState

pytestmark = pytest.mark.model
APART = 5 if os.environ.get("CERTROTD_DEMAND") == "all" else 17
"""So many moments are between two at which a process is killed twice."""
NAMED = Asked(forced=True, by_hand=True, named=True)
MOST = 8


def _bench(codec: Codec = TINK, /, *, tells: bool = True, **refuses: bool) -> CutOverBench:
    state = KillingState()
    bench = CutOverBench(state=state, codec=codec).begin()
    bench.rows.before_write = bench.app.at = state.slow
    bench.app.tells = tells
    bench.app.refuses = set(refuses)
    return bench


def _killed(bench: CutOverBench, at: int) -> bool:
    """Whether a process was killed at that moment, or ended before it."""
    state = bench.state
    assert isinstance(state, KillingState)
    state.left = at
    try:
        bench.rotate(NAMED)
        return False
    except Killed:
        state.holders.clear()
        return True
    finally:
        state.left = 0


def _settled(bench: CutOverBench) -> int:
    """The next processes end it, whatever it is; the version that everything is under."""
    for _ in range(MOST):
        if not bench.state.journals:
            break
        bench.rotate()
        bench.clock.advance(timedelta(minutes=2))
    assert not bench.state.journals
    return bench.whole()


CODECS = pytest.mark.parametrize("codec", [TINK, CBC], ids=["with keys' ids", "without a MAC"])


@CODECS
@pytest.mark.parametrize("reboots", [False, True], ids=["killed", "machine restarted"])
@pytest.mark.parametrize("refuses", ["", "reads", "start"])
@pytest.mark.parametrize("tells", [True, False])
def test_a_kill_at_any_moment_ends_wholly_old_or_wholly_new(
    reboots: bool, refuses: str, tells: bool, codec: Codec
) -> None:
    """Also where it fails and is undone, and where the machine starts the application itself.

    Where nothing but its mark tells a value's key, a value that is taken for one of another key
    comes out as gibberish, and no error.
    """
    at, ends = 0, set()
    while True:
        at += 1
        bench = _bench(codec, tells=tells, **({refuses: True} if refuses else {}))
        killed = _killed(bench, at)
        if killed and reboots:
            bench.app.running = False
            with suppress(NeedsOperator):
                bench.app.start()
            bench.app.write(ROWS + 1)
        ends.add(_settled(bench))
        if not killed:
            break
    assert at > 50, "the kills reach into the cut-over"
    assert ends == ({1} if refuses else {1, 2})


def _of_another_key() -> CutOverBench:
    """Its application has another key than its output says, and everything is under that one."""
    bench = _bench(CFB)
    real = DataKey(9, Algorithm.PASSPHRASE, Material(b"what nobody knows"))
    app, own = bench.app, replace(CFB, marks=False)
    for (row,) in bench.rows.content:
        bench.rows.content[(row,)] = (own.encrypt(b"%d" % int(str(row)), real),)

    def reads() -> str | None:
        bench.app.at()
        if not app.running:
            return "it is away"
        told = (own.decrypt(value or b"", real) for [value] in bench.rows.content.values())
        return None if all(text.isdigit() for text in told) else "it reads gibberish"

    app.reads = reads  # type: ignore[method-assign]
    return bench


def test_what_opens_under_any_key_comes_back_to_the_byte_if_the_key_was_a_wrong_one() -> None:
    """Made anew of gibberish, it would open under no key at all; killed anywhere, too."""
    at = 0
    while True:
        at += 1 if APART < 17 else 4
        bench = _of_another_key()
        before = dict(bench.rows.content)
        killed = _killed(bench, at)
        for _ in range(MOST):
            if bench.state.journals:
                bench.rotate()
                bench.clock.advance(timedelta(minutes=2))
        assert not bench.state.journals
        assert bench.rows.content == before
        assert bench.app.reads() is None
        if not killed:
            break
    last = bench.history.last()
    assert last is not None
    assert last["outcome"] != "finished"
    assert not any(last["facts"].get(each) for each in last["facts"] if "originals" in each)
    assert at > 50


@pytest.mark.parametrize("refuses", ["", "reads"])
def test_two_kills_end_the_same(refuses: str) -> None:
    """Of the process that goes on with it, too."""
    first = 0
    while True:
        first += APART
        second = 0
        while True:
            second += APART
            bench = _bench(**({refuses: True} if refuses else {}))
            begun = _killed(bench, first)
            again = _killed(bench, second)
            assert _settled(bench) in ({1} if refuses else {1, 2, 3})
            if not again:
                break
        if not begun:
            return


def test_the_check_notices_what_is_not_whole() -> None:
    """The negative control: a row under the other key, and an application that is stopped."""
    bench = _bench()
    bench.whole()
    other = bench.rows.content[(0,)]
    assert not bench.rotate(NAMED).failed
    assert bench.whole() == 2
    bench.rows.content[(0,)] = other
    with pytest.raises(AssertionError):
        bench.whole()


def test_what_cannot_be_undone_now_is_tried_again() -> None:
    """The application stops, and neither key makes it start: the next process that can, ends it."""
    bench = _bench(start=True)
    right = bench.app.start

    def broken() -> None:
        raise RuntimeError("no room for processes")

    bench.app.start = broken  # type: ignore[method-assign]
    assert isinstance(bench.rotate(NAMED).outcome, Stuck)
    bench.app.start = right  # type: ignore[method-assign]
    assert _settled(bench) == 1
