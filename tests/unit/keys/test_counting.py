"""Messages are counted once, whoever reports them however often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keys.counting import Counted, counted_in, counting, failures
from tests.fakes.state import MemoryState
from tests.unit.keyring.test_delivery import staged

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def beat(
    instance: int, messages: int, *, version: int = 1, failed: int = 0, keyring: str = "orders"
) -> Heartbeat:
    """A process that has encrypted so many messages of 10 bytes."""
    counts = {version: (messages, messages * 10)}
    return Heartbeat(keyring, "web", f"{instance:016x}", NOW, "a" * 64, counts, failed)


@given(st.lists(st.lists(st.integers(0, 1000), min_size=3, max_size=3), max_size=6))
def test_growing_counts_are_added_up_once(rounds: list[list[int]]) -> None:
    """Three processes report what they have done so far, again and again."""
    keyring = staged()
    totals = [0, 0, 0]
    counted: Counted = {}
    for more in rounds:
        totals = [total + each for total, each in zip(totals, more, strict=True)]
        beats = [beat(number, total) for number, total in enumerate(totals)]
        keyring, counted = counting(keyring, counted, beats)
        again, counted = counting(keyring, counted, beats)
        assert again is keyring
    assert keyring.entries[1].use.messages == sum(totals)
    assert keyring.entries[1].use.bytes == sum(totals) * 10


def test_other_keyrings_and_unknown_versions_are_not_counted() -> None:
    """A process that reports nonsense changes nothing."""
    keyring = staged()
    after, _ = counting(keyring, {}, [beat(1, 5, version=99), beat(2, 5, keyring="others")])
    assert after is keyring


def test_what_was_counted_is_kept_for_the_next_process() -> None:
    """Else a restart of the daemon would count everything again."""
    document = counted_in(MemoryState().document("counted/orders"))
    _, counted = counting(staged(), {}, [beat(1, 5)])
    document.write(counted)
    assert document.read() == counted
    again, _ = counting(staged(), document.read() or {}, [beat(1, 5)])
    assert again.entries[1].use.messages == 0


def test_a_damaged_count_is_begun_anew() -> None:
    """It is kept aside, and said."""
    state = MemoryState()
    state.document("counted/orders").write(b"[]")
    assert counted_in(state.document("counted/orders")).read() is None


def test_failures_are_told_by_client_while_they_are_news() -> None:
    """Of instances that were heard of lately."""
    beats = [beat(1, 0, failed=2), beat(2, 0, failed=3), beat(3, 0, keyring="others", failed=9)]
    assert failures(beats, "orders", since=NOW) == {"web": 5}
    assert failures(beats, "orders", since=NOW + timedelta(seconds=1)) == {}
