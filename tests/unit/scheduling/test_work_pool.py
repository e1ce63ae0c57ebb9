"""Who of those that wait has the next slot."""

from __future__ import annotations

from certrotd.id import Id
from certrotd.lifecycle.subject import Fate
from certrotd.scheduling.work_pool import WorkPool

FATE = Fate("ca", "example.test")


def of(name: str) -> Id:
    return Id("certificate", name)


def test_a_question_comes_after_everything_that_is_due() -> None:
    """A thousand of them at a CA that does not answer would keep its renewals away for ever."""
    pool = WorkPool(1, [FATE])
    for name in ("asks-1", "asks-2"):
        pool.put(of(name), FATE, spends=False, asks=True)
    pool.put(of("renews"), FATE, spends=True)
    pool.put(of("deploys"), FATE, spends=False)
    order = []
    while (found := pool.next(lambda _: True)) is not None:
        order.append(found.name)
    assert order == ["deploys", "renews", "asks-1", "asks-2"]


def test_a_question_does_not_wait_for_what_cannot_be_afforded() -> None:
    """The account's budget is for orders; and what is taken out of the queue asks no more."""
    pool = WorkPool(1, [FATE])
    pool.put(of("asks"), FATE, spends=False, asks=True)
    pool.put(of("other"), FATE, spends=False, asks=True)
    pool.put(of("renews"), FATE, spends=True)
    pool.remove(of("asks"))
    assert pool.next(lambda _: False) == of("other")
    pool.put(of("asks"), FATE, spends=False, asks=True)
    assert pool.clear() == [of("asks")]
