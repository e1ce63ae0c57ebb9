"""Ids of keys: no two living keys share one, and a destroyed key's is taken again last."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from certrotd.keyring.ids import TRIES, Drawn, Fingerprints, NoFreeId, Numbers, Slots, draw
from certrotd.keyring.material import Material

KEY = Material(b"k" * 32)


def test_a_byte_counts_up_and_passes_over_what_is_taken() -> None:
    """The header of symmetric-encryption has one byte for it."""
    byte = Numbers(1, 255)
    assert byte.pick(KEY, [], []) == "1"
    assert byte.pick(KEY, ["1", "3"], ["2"]) == "4"
    every = [str(n) for n in range(1, 256)]
    assert byte.pick(KEY, every[4:], every[:4][::-1]) == "4", "destroyed the longest ago"
    with pytest.raises(NoFreeId, match="all 255 ids"):
        byte.pick(KEY, every, [])


def test_two_slots_are_used_in_turn() -> None:
    """And a third key waits until the first is destroyed."""
    slots = Slots(("v1", "v2"))
    assert slots.pick(KEY, ["v1"], []) == "v2"
    with pytest.raises(NoFreeId, match="destroy an old key"):
        slots.pick(KEY, ["v1", "v2"], [])
    assert slots.pick(KEY, ["v2"], ["v1"]) == "v1"
    assert slots.pick(KEY, ["v1"], ["v1", "v2"]) == "v2"


def test_a_random_id_is_drawn_again_on_a_collision() -> None:
    """With a living key or a destroyed one, and never 0."""
    draws = iter([4, 6, 0])
    space = Drawn(32, lambda below: next(draws) if below == 2**32 - 1 else 0)
    assert draw(space, lambda: KEY, ["5"], ["7"]) == (KEY, "1")


def test_a_key_of_a_fingerprint_that_is_taken_is_drawn_again() -> None:
    """Rails names keys by 16 bits of them, so two could be one to it."""

    def of(material: Material) -> str:
        return hashlib.sha1(material.reveal(), usedforsecurity=False).hexdigest()[:4]

    keys = [Material(bytes([n]) * 32) for n in range(3)]
    source = iter(keys)
    taken = [of(keys[0])], [of(keys[1])]
    assert draw(Fingerprints(of), lambda: next(source), *taken) == (keys[2], of(keys[2]))


def test_a_source_that_always_collides_is_given_up() -> None:
    """It is no source of random numbers then."""
    calls = itertools.count()

    def same(below: int) -> int:
        next(calls)
        return 0

    with pytest.raises(NoFreeId, match="64 keys in a row"):
        draw(Drawn(16, same), lambda: KEY, ["1"], [])
    assert next(calls) == TRIES
