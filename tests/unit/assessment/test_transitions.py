"""A transition is written into the audit log, and read from there as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.assessment.transitions import Asked, Recorded, destructions, happened, recorded
from certrotd.audit.record import START, Happened, chained, parse
from certrotd.errors import InvalidInput
from certrotd.id import Id
from certrotd.keyring.states import Code, State, Transition
from certrotd.rotation.step import JSON
from tests.unit.assessment.samples import day, facts, log, said

AT = datetime(2026, 6, 1, tzinfo=UTC)
SUBJECT = Id("keyring", "payments")
WORDS = st.text(max_size=40)


@given(
    st.sampled_from(State),
    st.sampled_from(Code),
    st.integers(0, 10**12),
    WORDS,
    st.booleans(),
    WORDS,
)
def test_what_is_written_is_read(
    to: State, code: Code, micros: int, why: str, by_hand: bool, actor: str
) -> None:
    """Through the line of the log, whatever the words are."""
    transition = Transition(to, AT + timedelta(microseconds=micros), code, why)
    asked = Asked(by_hand, actor)
    event = happened(SUBJECT, 3, transition, "r1", asked)
    record = parse(chained(START, event, at=AT).line())
    assert record is not None
    assert recorded(record) == Recorded("payments", 3, transition, "r1", asked, 1, AT)


def test_every_code_has_an_event_of_its_own() -> None:
    """In the past tense, as the log's other events are."""
    events = {
        happened(SUBJECT, 1, Transition(State.ACTIVE, AT, code, ""), "r1").event for code in Code
    }
    assert len(events) == len(Code)
    assert {"key.rolled_back", "key.destroyed"} <= events


def test_other_records_are_no_transitions() -> None:
    """Neither of certificates, nor of a keyring's backups and drills."""
    for name in ("rotation.began", "key.drilled", "audit.damaged"):
        assert recorded(chained(START, Happened(name, str(SUBJECT)), at=AT)) is None


GOOD = happened(SUBJECT, 1, Transition(State.ACTIVE, AT, Code.ACTIVATED, "x"), "r1")


WRONG: list[tuple[str, JSON]] = [
    ("version", "1"),
    ("version", True),
    ("to", "gone"),
    ("at", "yesterday"),
    ("at", "2026-06-01T00:00:00"),
]


@pytest.mark.parametrize(
    "event",
    [
        replace(GOOD, subject="payments"),
        *(replace(GOOD, details={**GOOD.details, key: value}) for key, value in WRONG),
        *(
            replace(GOOD, details={k: v for k, v in GOOD.details.items() if k != key})
            for key in ("version", "to", "at", "why")
        ),
    ],
)
def test_a_record_that_does_not_say_which_is_refused(event: Happened) -> None:
    """By its number, so that it is found."""
    assert recorded(chained(START, GOOD, at=AT))
    with pytest.raises(InvalidInput, match=r"record 1 \(key.activated\) does not say which"):
        recorded(chained(START, event, at=AT))


def test_who_asked_is_said_in_words() -> None:
    """A name where one is known."""
    assert str(Asked()) == "the schedule"
    assert str(Asked(by_hand=True)) == "somebody by hand"
    assert str(Asked(by_hand=True, actor="alice")) == "alice"


def test_destructions_of_a_keyring_are_found_in_the_log() -> None:
    """Those that a restore must not undo; a damaged record is not passed over."""
    events = said(facts(), facts(name="users"))
    [gone] = destructions(log(events), "payments")
    assert (gone.version, gone.at) == (1, day(60))
    assert gone.why.startswith("asked (census 0")
    assert destructions(log(events), "orders") == ()
    broken = [
        (at, replace(event, details={}) if event.event == "key.destroyed" else event)
        for at, event in events
    ]
    with pytest.raises(InvalidInput, match="does not say which"):
        destructions(log(broken), "payments")
