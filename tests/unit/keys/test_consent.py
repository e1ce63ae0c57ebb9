"""Holds and confirmations: who may say what, and that nothing of it is lost unnoticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certrotd.errors import NeedsOperator
from certrotd.keyring.consent import Consent
from certrotd.keyring.evidence import Confirmation, Hold
from certrotd.keyring.states import NotAllowed, Versions
from certrotd.keys.consent import KeptConsent
from certrotd.keys.suspicions import Suspicions
from tests.fakes.state import MemoryState

NOW = datetime(2027, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
HOLD = Hold("the auditor wants it", "ann", NOW, NOW + DAY)


def ring() -> Versions:
    """Version 1 is disabled, version 2 active."""
    at = NOW - DAY
    made = Versions().adopt(active=True, at=at, why="there").generate(at=at, why="due")
    made = made.distribute(2, at=at, why="due").activate(2, at=at, why="due")
    return made.retire(1, at=at, why="0").disable(1, at=at, why="grace")


def test_what_was_said_is_read_as_it_was_written() -> None:
    """Of two versions."""
    kept, version = KeptConsent(MemoryState().document("consent/orders")), ring().version(1)
    assert kept.read() == Consent()
    kept.change(lambda consent: consent.held(version, HOLD))
    kept.change(lambda consent: consent.held(ring().version(2), Hold("for ever", "bob", NOW)))
    said = kept.change(lambda consent: consent.confirming(version, Confirmation("ann", NOW)))
    assert kept.read() == said
    assert said.holds[1] == HOLD
    assert said.of(version) == ("ann",)
    assert kept.change(lambda consent: consent.released(1)).holds.keys() == {2}


@pytest.mark.parametrize(
    "data",
    [
        b"{half",
        b"[]",
        b'{"holds": {"1": []}, "confirmed": {}}',
        b'{"holds": {}, "confirmed": {"1": [["ann", "2027-03-04T00:00:00"]]}}',
        b'{"holds": {}, "confirmed": {"1": [["ann"]]}}',
    ],
)
def test_a_damaged_document_is_never_taken_for_no_hold(data: bytes) -> None:
    """Else the key that must stay would go."""
    document = MemoryState().document("consent/orders")
    document.write(data)
    with pytest.raises(NeedsOperator, match="cannot be read"):
        KeptConsent(document).read()


def test_what_cannot_be_said_is_refused() -> None:
    """A hold in the past, one of nothing, a key in use, and a second word of one person."""
    version = ring().version(1)
    with pytest.raises(NotAllowed, match="ends in the future"):
        Consent().held(version, Hold("late", "ann", NOW, NOW))
    with pytest.raises(NotAllowed, match="version 1 is not held"):
        Consent().released(1)
    with pytest.raises(NotAllowed, match="version 2 is active"):
        Consent().confirming(ring().version(2), Confirmation("ann", NOW))
    once = Consent().confirming(version, Confirmation("ann", NOW))
    with pytest.raises(NotAllowed, match="another person has to"):
        once.confirming(version, Confirmation("ann", NOW))
    again = ring().restore(1, at=NOW, why="missed").retire(1, at=NOW, why="0")
    withheld = again.disable(1, at=NOW + DAY, why="grace").version(1)
    assert once.of(withheld) == ()
    once.confirming(withheld, Confirmation("ann", NOW + DAY))


def test_what_others_may_know_is_remembered_until_it_is_dealt_with() -> None:
    """A damaged document is never taken for nothing."""
    document = MemoryState().document("suspects/orders")
    kept = Suspicions(document)
    assert kept.read() == {}
    kept.add(1, "stolen")
    kept.add(2, "sold")
    assert kept.read() == {1: "stolen", 2: "sold"}
    assert (kept.drop(1), kept.drop(1)) == (True, False)
    assert kept.read() == {2: "sold"}
    for data in (b"{half", b"[]", b'{"one": "x"}', b'{"1": 2}'):
        document.write(data)
        with pytest.raises(NeedsOperator, match="cannot be read"):
            kept.read()
