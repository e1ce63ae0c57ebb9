"""Whose turn it is: nobody waits behind a crowd, and nobody who hangs stops all."""

from hypothesis import given
from hypothesis import strategies as st

from certrotd.lifecycle.subject import Fate
from certrotd.scheduling.fair_queue import FairQueue, Pool


def fair_queue(*names: tuple[str, str, str]) -> FairQueue[str]:
    """Names with their issuer and domain, in the order they became due."""
    made = FairQueue[str]()
    for name, issuer, domain in names:
        made.put(name, Fate(issuer, domain))
    return made


def taken(queue: FairQueue[str]) -> list[str]:
    """All of it in its order, each leaving before the next enters."""
    names, pool = [], Pool[str](1)
    while (name := queue.take(pool)) is not None:
        names.append(name)
    return names


def test_a_crowd_of_one_domain_lets_others_through() -> None:
    """A thousand host names of one customer must not delay another's only one."""
    queue = fair_queue(("a1", "ca", "a"), ("a2", "ca", "a"), ("a3", "ca", "a"), ("b1", "ca", "b"))
    assert taken(queue) == ["a1", "b1", "a2", "a3"]
    assert len(queue) == 0


def test_issuers_take_turns_before_domains_do() -> None:
    """A CA with many domains is no more important than one with few."""
    queue = fair_queue(("a", "x", "a"), ("b", "x", "b"), ("c", "x", "c"), ("d", "y", "d"))
    assert taken(queue) == ["a", "d", "b", "c"]


def test_a_group_that_hangs_never_has_the_last_slot() -> None:
    """All of one domain hang in its DNS; the others' certificates go on."""
    queue = fair_queue(*((f"a{n}", "ca", "a") for n in range(5)), ("b", "ca", "b"))
    pool = Pool[str](3, services=1, parts=2)
    begun = []
    while (name := queue.take(pool)) is not None:
        pool.enter(name, Fate("ca", name[0]))
        begun.append(name)
    assert begun == ["a0", "b", "a1"]
    pool.leave("b")
    assert queue.take(pool) is None  # the rest are all of the domain that hangs
    queue.put("b2", Fate("ca", "b"))
    assert queue.take(pool) == "b2"


def test_a_domain_alone_has_every_slot() -> None:
    """The control: where nobody else could want it, no slot is kept free."""
    queue, pool = fair_queue(*((f"a{n}", "ca", "a") for n in range(5))), Pool[str](3)
    while (name := queue.take(pool)) is not None:
        pool.enter(name, Fate("ca", "a"))
    assert (len(pool.running), pool.full, len(queue)) == (3, True, 2)


def test_cleared_names_may_come_again() -> None:
    """After a jump of the clock everything is looked at anew."""
    queue = fair_queue(("a", "ca", "a"))
    assert (queue.clear(), "a" in queue, len(queue)) == (["a"], False, 0)
    queue.put("a", Fate("ca", "a"))
    assert "a" in queue


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abcd"))), st.integers(1, 4))
def test_every_entry_gets_its_turn_once(groups: list[tuple[str, str]], slots: int) -> None:
    """Whatever the groups and however few the slots."""
    queue, pool = FairQueue[str](), Pool[str](slots, services=3, parts=4)
    for number, (issuer, domain) in enumerate(groups):
        queue.put(f"{number}", Fate(issuer, domain))
    begun: list[str] = []
    while len(queue):
        name = queue.take(pool)
        if name is None:
            assert pool.running
            pool.leave(next(iter(pool.running)))
            continue
        pool.enter(name, Fate(*groups[int(name)]))
        begun.append(name)
    assert sorted(begun, key=int) == [f"{number}" for number in range(len(groups))]


def test_a_removed_entry_does_not_get_its_turn() -> None:
    """Somebody else has done it; the others keep their places."""
    fair_queue = FairQueue[str]()
    for name, domain in (("a", "x"), ("b", "x"), ("c", "y")):
        fair_queue.put(name, Fate("ca", domain))
    for name in ("a", "c", "never there"):
        fair_queue.remove(name)
    assert (len(fair_queue), "a" in fair_queue) == (1, False)
    assert fair_queue.take(Pool[str](9)) == "b"
    assert fair_queue.take(Pool[str](9)) is None
