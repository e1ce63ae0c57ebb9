"""Ids of keys: no two living keys share one, and a destroyed key's is taken again last."""

from __future__ import annotations

import itertools

import pytest

from certrotd.keyring.ids import TRIES, Drawn, NoFreeId, Numbers, Slots


def test_a_byte_counts_up_and_passes_over_what_is_taken() -> None:
    """The header of symmetric-encryption has one byte for it."""
    byte = Numbers(1, 255)
    assert byte.pick([], []) == "1"
    assert byte.pick(["1", "3"], ["2"]) == "4"
    every = [str(n) for n in range(1, 256)]
    assert byte.pick(every[4:], every[:4][::-1]) == "4", "destroyed the longest ago"
    with pytest.raises(NoFreeId, match="all 255 ids"):
        byte.pick(every, [])


def test_two_slots_are_used_in_turn() -> None:
    """And a third key waits until the first is destroyed."""
    slots = Slots(("v1", "v2"))
    assert slots.pick(["v1"], []) == "v2"
    with pytest.raises(NoFreeId, match="destroy an old key"):
        slots.pick(["v1", "v2"], [])
    assert slots.pick(["v2"], ["v1"]) == "v1"
    assert slots.pick(["v1"], ["v1", "v2"]) == "v2"


def test_a_random_id_is_drawn_again_on_a_collision() -> None:
    """With a living key or a destroyed one, and never 0."""
    draws = iter([4, 6, 0])
    space = Drawn(32, lambda below: next(draws) if below == 2**32 - 1 else 0)
    assert space.pick(["5"], ["7"]) == "1"


def test_a_source_that_always_collides_is_given_up() -> None:
    """It is no source of random numbers then."""
    calls = itertools.count()

    def same(below: int) -> int:
        next(calls)
        return 0

    with pytest.raises(NoFreeId, match="64 ids in a row"):
        Drawn(16, same).pick(["1"], [])
    assert next(calls) == TRIES
