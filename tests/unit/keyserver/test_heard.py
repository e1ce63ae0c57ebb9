"""What the server knows of instances: bounded, each counted once, and nobody's but their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import ManualClock
from certrotd.errors import InvalidInput
from certrotd.keyring.heartbeat import Counts, Heartbeat
from certrotd.keyserver import heard as module
from certrotd.keyserver.heard import Heard
from certrotd.keyserver.heartbeat_files import Found, Left
from certrotd.keyserver.server import Peer
from tests.unit.client.sealed import NOW

PEER = Peer(10, 1000, 1000)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock(NOW)


@pytest.fixture
def heard(clock: ManualClock) -> Heard:
    """Nobody yet."""
    return Heard(clock, keep=DAY)


def beat(instance: int = 1, counts: Counts | None = None, keyring: str = "orders") -> Heartbeat:
    """Of the client shop, by a clock that is a year behind."""
    at = NOW - 365 * DAY
    return Heartbeat(keyring, "shop", f"{instance:016x}", at, "0" * 64, counts or {})


def test_the_last_heartbeat_of_each_instance_is_kept(heard: Heard, clock: ManualClock) -> None:
    """With the time of its arrival, which no client can make up."""
    heard.heard(beat(1), PEER)
    heard.heard(beat(2), PEER)
    clock.advance(timedelta(minutes=1))
    heard.heard(beat(1), PEER)
    heard.heard(beat(3, keyring="invoices"), PEER)
    found = {each.instance[-1]: each.at for each in heard.of("orders")}
    assert found == {"1": clock.now(), "2": NOW}


def test_an_instance_that_leaves_is_waited_for_no_more(heard: Heard) -> None:
    """What it has encrypted at last is counted."""
    heard.heard(beat(1, {1: (5, 50)}), PEER)
    heard.left(beat(1, {1: (7, 70)}), PEER)
    assert heard.of("orders") == ()
    assert heard.counted("orders") == {1: (7, 70)}
    heard.left(beat(2, {1: (1, 1)}), PEER)
    assert heard.counted("orders") == {1: (1, 1)}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.booleans()), max_size=30))
def test_each_message_is_counted_once(acts: list[tuple[int, int, bool]]) -> None:
    """However often its instance is heard, and whenever the counts are asked for."""
    heard = Heard(ManualClock(NOW), keep=DAY)
    totals = dict.fromkeys((1, 2, 3), 0)
    counted = 0
    for instance, more, ask in acts:
        totals[instance] += more
        heard.heard(beat(instance, {1: (totals[instance], 0)}), PEER)
        if ask:
            counted += heard.counted("orders").get(1, (0, 0))[0]
    counted += heard.counted("orders").get(1, (0, 0))[0]
    assert counted == sum(totals.values())


def test_nobody_speaks_for_the_instance_of_another(heard: Heard) -> None:
    """Else a user could acknowledge what another one's process does not have."""
    heard.heard(beat(1), PEER)
    for act in (heard.heard, heard.left):
        with pytest.raises(InvalidInput, match="user 1001 speaks for an instance of user 1000"):
            act(beat(1), Peer(11, 1001, 1001))
    assert len(heard.of("orders")) == 1


def test_a_user_who_makes_instances_up_fills_no_memory(
    heard: Heard, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are heard still, and the user again when the old ones are forgotten."""
    monkeypatch.setattr(module, "OF_ONE_USER", 2)
    for number in (1, 2):
        heard.heard(beat(number), PEER)
    with pytest.raises(InvalidInput, match="more than 2 instances"):
        heard.heard(beat(3), PEER)
    heard.heard(beat(1), PEER)
    heard.heard(beat(4), Peer(11, 1001, 1001))
    clock.advance(DAY + timedelta(seconds=1))
    heard.heard(beat(3), PEER)
    assert [each.instance[-1] for each in heard.of("orders")] == ["3"]


def test_those_of_a_directory_come_and_go_with_their_files(heard: Heard) -> None:
    """And those of the socket stay."""
    heard.heard(beat(1), PEER)
    two, three = (replace(beat(n), at=NOW) for n in (2, 3))
    assert heard.looked(Found((Left(two, 1000), Left(three, 1001)), ())) == []
    assert {each.instance[-1] for each in heard.of("orders")} == {"1", "2", "3"}
    assert heard.looked(Found((Left(three, 1001),), ())) == []
    assert {each.instance[-1] for each in heard.of("orders")} == {"1", "3"}


def test_a_file_that_speaks_for_another_is_reported(heard: Heard) -> None:
    """And the others of the directory are taken."""
    heard.heard(beat(1), PEER)
    found = Found((Left(beat(1), 1001), Left(replace(beat(2), at=NOW), 1001)), ())
    [refused] = heard.looked(found)
    assert "user 1001 speaks for" in str(refused)
    assert len(heard.of("orders")) == 2


def test_a_restart_counts_nothing_again(heard: Heard, clock: ManualClock) -> None:
    """With what was kept; the control without it counts twice."""
    heard.heard(beat(1, {1: (5, 50)}), PEER)
    assert heard.counted("orders") == {1: (5, 50)}
    for known, counts in ((heard.known(), {1: (2, 20)}), ((), {1: (7, 70)})):
        restarted = Heard(clock, keep=DAY, known=known)
        restarted.heard(beat(1, {1: (7, 70)}), PEER)
        assert restarted.counted("orders") == counts
        assert [each.uid for each in restarted.known()] == [1000]


def test_an_old_file_is_counted_once_for_as_long_as_it_is_there(
    heard: Heard, clock: ManualClock
) -> None:
    """It is stale, which is another matter."""
    left = Left(beat(1, {1: (5, 50)}), 1000)
    for _ in range(3):
        heard.looked(Found((left,), ()))
        clock.advance(2 * DAY)
        assert len(heard.of("orders")) == 1
    assert heard.counted("orders") == {1: (5, 50)}
