"""A proof of a destruction: read as it was written, and worth no more than what it shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certrotd.errors import InvalidInput
from certrotd.keyring.evidence import Count, Evidence, Freshness
from certrotd.keyring.keyring import Keyring, empty
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.proof import Proof, proof_from, proof_of

NOW = datetime(2027, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
FRESH = Freshness(apart=7 * DAY)
SHOWN = Evidence(
    frozenset({"users"}),
    {"users": Count(0, NOW, 0, NOW - 8 * DAY, "by the beginnings of ciphertext")},
    {"cookies": NOW - DAY},
    NOW - DAY,
    confirmations=2,
    confirmed=("ann", "bob"),
)


def ring() -> Keyring:
    """Version 1 is disabled, version 2 active."""
    at, made = NOW - 40 * DAY, empty("orders", Material(bytes(32)))
    for number in (1, 2):
        key = DataKey(number, Algorithm.AES_256_GCM, Material(bytes([number] * 32)), str(number))
        versions = made.versions.generate(at=at, why="due").distribute(number, at=at, why="due")
        made = made.added(key, versions.activate(number, at=at, why="due"))
    return made.moved(made.versions.retire(1, at=at, why="0").disable(1, at=at, why="grace"))


def gone() -> Keyring:
    before = ring()
    return before.moved(before.versions.destroy(1, SHOWN, FRESH, at=NOW, why="watched"))


def proof() -> Proof:
    made = proof_of(ring(), 1, SHOWN, FRESH, at=NOW, consumers=("web",), files={"/k": "00"})
    return replace(made, backups=("/b/1",), unreadable=("/b/2: damaged",), copies={"tapes": NOW})


def test_it_is_read_as_it_was_written_and_holds() -> None:
    """The control for what follows."""
    assert proof_from(proof().to_json()) == proof()
    assert [*proof().wrong(gone())] == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"evidence": replace(SHOWN, census={})}, "the dataset users was not counted"),
        ({"evidence": replace(SHOWN, confirmed=("ann",))}, "2 people have to confirm it"),
        ({"evidence": replace(SHOWN, drilled=None)}, "no restore drill"),
        ({"fresh": replace(FRESH, apart=9 * DAY)}, "it has to be zero 9 d later, too"),
        ({"fingerprint": "0" * 16}, "had another key as that version"),
        ({"at": NOW + DAY / 2}, "at another time"),
        ({"number": 7}, "has no version 7"),
    ],
)
def test_each_thing_that_does_not_hold_is_told(changed: dict[str, object], words: str) -> None:
    """In words."""
    found = [*replace(proof(), **changed).wrong(gone())]  # type: ignore[arg-type]
    assert any(words in each for each in found), found


def test_a_key_that_is_there_is_not_proven_to_be_gone() -> None:
    """As after a keyring was put back."""
    assert "still has version 1: it is disabled" in " ".join(proof().wrong(ring()))


@pytest.mark.parametrize("part", ["version", "at", "key", "use", "census", "asked", "files"])
def test_a_record_that_lacks_a_part_is_no_proof(part: str) -> None:
    """Nor one that has something else in its place."""
    told = proof().to_json()
    for wrong in ({k: v for k, v in told.items() if k != part}, {**told, part: ["x"]}):
        with pytest.raises(InvalidInput, match="does not say what was shown"):
            proof_from(wrong)
