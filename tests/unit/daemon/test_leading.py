"""Who leads a state, or a shard of it."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest

from certrotd.daemon.leading import Leading, Led, Neighbours
from certrotd.errors import Failure, LockHeld
from certrotd.id import Id
from certrotd.observers import Observer
from certrotd.state.ports import Fenced
from certrotd.state.shard import ALL, Shard
from tests.fakes.state import MemoryState


class Told(Observer):
    """What is in trouble."""

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}
        self.lines = 0

    def trouble(self, what: Id | str, failure: Failure) -> None:
        self.lines += 1
        self.troubles[str(what)] = str(failure)

    def calmed(self, what: Id | str) -> None:
        del self.troubles[str(what)]


class TestShards:
    @pytest.mark.parametrize("of", [1, 2, 3, 7, 32])
    def test_each_subject_is_in_one(self, of: int) -> None:
        """And each has its share of them."""
        shards = [Shard(number + 1, of) for number in range(of)]
        found = Counter[Shard]()
        for number in range(3200):
            [shard] = [each for each in shards if each.has(f"certificate/c{number}")]
            found[shard] += 1
        assert min(found.values()) > 0.6 * 3200 / of
        assert len(found) == of

    def test_a_subject_stays_where_it_is_from_release_to_release(self) -> None:
        """Else daemons of two releases would have it both, or none."""
        assert [next(n for n in (1, 2, 3) if Shard(n, 3).has(f"certificate/{name}"))
                for name in ("web", "www", "mail", "a")] == [1, 3, 2, 1]  # fmt: skip

    def test_all_has_everything(self) -> None:
        assert ALL.has("certificate/web")
        assert ALL.others == ()

    def test_the_others_begin_with_the_next_one(self) -> None:
        assert [each.number for each in Shard(2, 4).others] == [3, 4, 1]


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


class TestLeading:
    def test_of_two_that_have_everything_one_leads(self, state: MemoryState) -> None:
        """And the other says who is in its way."""
        with (
            Leading(state, 1).lead() as led,
            pytest.raises(LockHeld, match="the state in the cluster is in use by another process"),
            Leading(state, 1).lead(),
        ):
            pass
        assert led.shard == ALL

    def test_each_has_a_shard_of_its_own_and_one_too_many_waits(self, state: MemoryState) -> None:
        """The one that is drawn, if it is free."""
        with ExitStack() as held:
            led = [held.enter_context(Leading(state, 3).lead(first)) for first in (2, 2, 3)]
            assert [str(each.shard) for each in led] == [
                "shard 2 of 3", "shard 3 of 3", "shard 1 of 3"
            ]  # fmt: skip
            with pytest.raises(LockHeld, match="each of the 3 shards has its daemon"):
                held.enter_context(Leading(state, 3).lead())
            for each in led:
                each.check()
        with Leading(state, 3).lead(3) as again:
            assert again.shard.number == 3

    @pytest.mark.parametrize(("here", "there"), [(2, 3), (3, 2), (1, 2), (2, 1)])
    def test_daemons_that_count_differently_are_not_at_work_at_once(
        self, state: MemoryState, here: int, there: int
    ) -> None:
        """A subject would be in the shards of two of them."""
        with Leading(state, here).lead():
            words = f"daemons with {here} shards" if here > 1 and there > 1 else "another process"
            with pytest.raises(LockHeld, match=words), Leading(state, there).lead():
                pass
        with Leading(state, there).lead() as led:
            assert led.shard.of == there

    def test_a_state_without_shards_becomes_one_with_some(self, state: MemoryState) -> None:
        """And the other way round, as often as somebody likes."""
        for shards in (1, 3, 1, 2, 3):
            with Leading(state, shards).lead() as led:
                assert led.shard.of == shards

    def test_a_number_that_is_none_is_written_anew(self, state: MemoryState) -> None:
        state.document("shards").write(b"three")
        with Leading(state, 3).lead() as led:
            assert led.shard.of == 3
        assert state.document("shards").read().data == b"3"  # type: ignore[union-attr]

    def test_others_may_agree_on_another_number_in_between(self, state: MemoryState) -> None:
        """Who read the number before waits, and reads it again."""
        leading = Leading(state, 2)
        with leading.lead():
            pass
        shared = state.lock

        def lock(name: str, what: str, *, wait=None, shared=False):  # type: ignore[no-untyped-def]
            if shared:
                state.document("shards").write(b"3")
            return locked(name, what, wait=wait, shared=shared)

        locked, state.lock = shared, lock  # type: ignore[method-assign]
        with pytest.raises(LockHeld, match="daemons with 3 shards"), leading.lead():
            pass
        assert not state.holders

    @pytest.mark.parametrize("lost", ["_daemon", "_daemon/1"])
    def test_who_lost_either_lease_is_fenced(self, state: MemoryState, lost: str) -> None:
        class Lost:
            token = 1

            def check(self) -> None:
                raise Fenced(lost)

        with Leading(state, 2).lead() as led:
            for position in range(2):
                leases = list(led.leases)
                leases[position] = Lost()
                with pytest.raises(Fenced):
                    Led(led.shard, leases).check()

    def test_who_has_a_subject_is_told(self, state: MemoryState) -> None:
        leading = Leading(state, 3)
        assert leading.shard_of("certificate/web") == Shard(1, 3)
        assert not leading.led(Shard(3, 3))
        with leading.lead(3):
            assert leading.led(Shard(3, 3))
            assert not leading.led(Shard(1, 3))
        one = Leading(state, 1)
        assert one.shard_of("certificate/web") == ALL
        with one.lead():
            assert one.led(ALL)


class TestNeighbours:
    def test_a_shard_without_a_daemon_is_told_of_once_and_by_one(self) -> None:
        """By the one before it, when it was found so twice; and it is over when somebody has it."""
        led = {Shard(1, 4), Shard(4, 4)}
        told = {each: Told() for each in led}
        neighbours = [Neighbours(each, led.__contains__, of) for each, of in told.items()]

        def look() -> None:
            for each in neighbours:
                each.look()

        look()
        assert not any(of.troubles for of in told.values()), "whoever takes over needs a moment"
        look()
        look()
        first, last = told[Shard(1, 4)], told[Shard(4, 4)]
        assert sorted(first.troubles) == ["shard 2 of 4", "shard 3 of 4"]
        assert "no daemon looks after shard 2 of 4" in first.troubles["shard 2 of 4"]
        assert (first.lines, last.lines) == (2, 0)
        led.add(Shard(2, 4))
        look()
        assert sorted(first.troubles) == [], "the one that has the second looks after the third"

    def test_one_that_cannot_tell_tells_nothing(self) -> None:
        def nobody_knows(_shard: Shard) -> bool:
            raise Failure("the API server is away")

        told = Told()
        neighbours = Neighbours(Shard(1, 2), nobody_knows, told)
        for _ in range(3):
            with pytest.raises(Failure, match="away"):
                neighbours.look()
        assert not told.troubles
