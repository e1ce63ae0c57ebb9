"""A report holds every version once, and tells first where the audit log does not agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.assessment.exceptions import ORDER, Kind
from certrotd.assessment.facts import BackupFacts, Span, strength
from certrotd.assessment.periods import period
from certrotd.assessment.report import Report, report
from certrotd.audit.record import DAMAGED, AuditRecord, Happened
from certrotd.audit.verify import verify
from certrotd.errors import Failure, InvalidInput
from certrotd.keyring.keyring import Use
from certrotd.keyring.material import Algorithm
from certrotd.keyring.states import State, Versions
from certrotd.rotation.step import JSON
from tests.unit.assessment.samples import (
    DAY,
    FRESH,
    MADE,
    SPAN,
    day,
    drilled,
    facts,
    life,
    log,
    made,
    said,
    verified,
)
from tests.unit.keyring.versions import proof


def kinds(found: Report) -> list[Kind]:
    return [each.kind for each in found.exceptions]


def test_a_keyring_in_order_has_no_exceptions() -> None:
    """The positive that the others are measured by."""
    found = made(facts())
    assert found.exceptions == ()
    assert found.whole
    assert found.head.seq == 15
    assert found.totals == {
        "keyrings": 1,
        "versions": 3,
        **{f"versions {state}": 0 for state in State},
        "versions destroyed": 1,
        "versions compromised": 1,
        "versions active": 1,
        "rotations": 2,
        "destructions": 1,
        "compromises": 1,
        "drills": 1,
        "drills failed": 0,
        "rehearsals": 0,
        "rehearsals failed": 0,
        "exceptions": 0,
    }


def test_rotations_of_the_time_are_listed_with_who_asked() -> None:
    """Version 1 was activated before it."""
    found = made(facts()).rotations
    assert [(each.version, each.before, each.transition.at) for each in found] == [
        (2, 1, day(32)),
        (3, 2, day(102)),
    ]
    assert {each.by for each in found} == {"alice"}
    assert all(each.record and each.record.seq for each in found)


def test_a_destruction_names_evidence_and_the_backups_that_hold_the_key_still() -> None:
    """Without those it is not the end of the key."""
    other = BackupFacts("/mnt/backups", 9, day(70), "x", (2, 3))
    [gone] = made(facts(backups=(*facts().backups, other))).destructions
    assert (gone.version, gone.transition.at) == (1, day(60))
    assert "census 0 of users at" in gone.transition.why
    assert gone.held == (f"/mnt/backups: revision 7 of {day(55)}",)


def test_a_compromise_is_listed() -> None:
    """With its reason."""
    [known] = made(facts()).compromises
    assert (known.version, known.transition.why) == (2, "seen in a log")


def test_the_end_of_the_time_is_not_in_it() -> None:
    """So that two reports that follow each other tell of everything once."""
    keyring = facts()
    told = log(said(keyring))
    halves = [Span(SPAN.since, day(102)), Span(day(102), SPAN.until)]
    both = [report([keyring], told, verified(told), each, made=MADE) for each in halves]
    assert [[each.version for each in half.rotations] for half in both] == [[2], [3]]
    assert kinds(both[1]) == [Kind.NO_DRILL]


def test_a_transition_without_a_record_is_an_exception() -> None:
    """Something changed the keyring, and not certrotd."""
    keyring = facts()
    events = [each for each in said(keyring) if each[1].event != "key.destroyed"]
    [found] = made(keyring, records=log(events)).exceptions
    assert (found.kind, found.version, found.at) == (Kind.UNRECORDED, 1, day(60))
    assert made(keyring, records=log(events)).destructions[0].by == "not recorded"


def test_a_record_without_its_transition_is_an_exception() -> None:
    """The keyring was put back, or is gone altogether."""
    keyring, other = facts(), facts(name="users")
    records = log(said(keyring, other))
    found = made(keyring, records=records).exceptions
    assert {each.kind for each in found} == {Kind.UNKNOWN}
    assert {each.keyring for each in found} == {"users"}
    before = facts(replace(life(), all=life().all[:2]))
    found = made(before, records=log(said(keyring))).exceptions
    assert {(each.kind, each.version) for each in found} == {(Kind.UNKNOWN, 3)}


def rewritten(**details: JSON) -> list[AuditRecord]:
    """The log with other details in the record of the destruction."""
    return log(
        (at, replace(event, details={**event.details, **details}))
        if event.event == "key.destroyed"
        else (at, event)
        for at, event in said(facts())
    )


def test_a_record_of_other_words_is_an_exception() -> None:
    """Evidence that was rewritten afterwards."""
    [found] = made(facts(), records=rewritten(why="no census")).exceptions
    assert found.kind is Kind.DIFFERS
    assert "in the log because: no census" in found.text


def test_a_record_that_cannot_be_read_is_an_exception() -> None:
    """And its transition has none then."""
    found = made(facts(), records=rewritten(version="one"))
    assert kinds(found) == [Kind.UNRECORDED, Kind.MALFORMED]


def test_a_transition_that_is_recorded_twice_is_an_exception() -> None:
    """It happened once."""
    events = said(facts())
    again = [each for each in events if each[1].event == "key.compromised"]
    [found] = made(facts(), records=log([*events, *again])).exceptions
    assert (found.kind, found.version) == (Kind.TWICE, 2)


@pytest.mark.parametrize(("late", "wrong"), [(0, False), (86400, False), (86401, True), (-1, True)])
def test_a_record_that_came_late_or_early_is_an_exception(late: int, wrong: bool) -> None:
    """It was not written with its transition."""
    events = [
        (at + timedelta(seconds=late) if event.event == "key.compromised" else at, event)
        for at, event in said(facts())
    ]
    assert kinds(made(facts(), records=log(events))) == ([Kind.LATE] if wrong else [])


def test_a_broken_audit_log_comes_before_everything() -> None:
    """Then nothing that it says is proven."""
    keyring = facts(owner="")
    events = [*said(keyring), (day(120), Happened(DAMAGED, "audit", details={"why": "cut"}))]
    found = made(keyring, records=log(events))
    assert kinds(found) == [Kind.CHAIN, Kind.NOBODY]
    assert not found.whole
    cut = log(said(keyring))
    lines = [each.line() for each in cut[:-1]]
    short = report([keyring], cut[:-1], verify(lines, cut[-1].head), SPAN, made=MADE)
    assert kinds(short)[0] is Kind.CHAIN
    assert "truncated" in short.exceptions[0].text


def test_an_exceeded_cryptoperiod_is_told_by_how_much() -> None:
    """Of those that encrypted too long within the time, be it for a day of it."""
    keyring = facts(cryptoperiod=50 * DAY)
    found = made(keyring)
    [versions] = [each.versions for each in found.keyrings]
    assert [each.exceeded for each in versions] == [timedelta(0), 20 * DAY, 48 * DAY]
    late = [each for each in found.exceptions if each.kind is Kind.CRYPTOPERIOD]
    assert [(each.version, each.at) for each in late] == [(2, day(82)), (3, day(152))]
    assert "and still encrypts" in late[1].text
    assert f"until {day(102)}" in late[0].text
    told = log(said(keyring))
    before = Span(day(-30), day(82))
    early = report([keyring], told, verified(told), before, made=MADE)
    assert Kind.CRYPTOPERIOD not in kinds(early)


def test_time_in_which_a_key_was_rolled_back_counts() -> None:
    """From its first activation until it last ceased to encrypt."""
    ring = Versions()
    for number, at in ((1, day(0)), (2, day(10))):
        ring = ring.generate(at=at, why="due").distribute(number, at=at, why="given")
        ring = ring.activate(number, at=at, why="acknowledged")
    ring = ring.rollback(at=day(12), why="undone")
    first, second = ring.all
    one, two = period(first, now=day(20)), period(second, now=day(20))
    assert one is not None
    assert two is not None
    assert (one.begin, one.end, one.running) == (day(0), day(20), True)
    assert (two.begin, two.end, two.running) == (day(10), day(12), False)
    again = period(ring.activate(2, at=day(15), why="again").version(2), now=day(20))
    assert again is not None
    assert again.length == 10 * DAY


def test_a_key_that_never_encrypted_here_has_no_period() -> None:
    """One that was adopted when it only decrypted, or is not given to anybody yet."""
    ring = Versions().adopt(active=False, at=day(0), why="found").generate(at=day(1), why="due")
    assert [period(each, now=day(9)) for each in ring.all] == [None, None]
    ring = Versions().adopt(active=True, at=day(0), why="found")
    adopted = period(ring.version(1), now=day(9))
    assert adopted is not None
    assert adopted.begin == day(0)
    early = period(ring.version(1), now=day(-1))
    assert early is not None
    assert early.length == timedelta(0)


def test_every_drill_of_the_time_is_told_by_the_audit_log() -> None:
    """The keyring itself knows its last one alone, which is not told twice; one that is no more
    has its drills in the log."""
    last, failed = drilled(day(70)), drilled(day(60), failed="lost")
    other = drilled(day(65), keyring="orders")
    happened = [
        (each.at, Happened(each.event, f"key/{each.keyring}", "", each.to_json()))
        for each in (drilled(day(-1)), drilled(day(50)), failed, other, last)
    ]
    keyring = facts(drills=(last,))
    events = sorted([*said(keyring), *happened], key=lambda each: each[0])
    found = made(keyring, records=log(events))
    assert [each.at for each in found.drills] == [day(50), day(60), day(65), day(70)]
    assert kinds(found) == [Kind.DRILL_FAILED]


@pytest.mark.parametrize(
    "details",
    [{}, {"at": "2026-01-01"}, drilled(day(1), failed="x").to_json()],
)
def test_a_record_that_says_no_drill_is_an_exception(details: Mapping[str, Any]) -> None:
    """Nor does it hide those that do: also one whose event and findings disagree."""
    event = (day(1), Happened("keyring.drilled", "key/payments", "", details))
    events = sorted([*said(facts()), event], key=lambda each: each[0])
    found = made(facts(), records=log(events))
    assert kinds(found) == [Kind.MALFORMED]
    assert [each.at for each in found.drills] == [day(70)]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"cryptoperiod": None}, Kind.NO_CRYPTOPERIOD),
        ({"wrapped_by": ()}, Kind.NOT_WRAPPED),
        ({"owner": ""}, Kind.NOBODY),
        ({"custodians": ()}, Kind.NOBODY),
        ({"purpose": ""}, Kind.UNSAID),
        ({"backups": ()}, Kind.NO_BACKUP),
        ({"drills": ()}, Kind.NO_DRILL),
        ({"drills": (drilled(day(-1)),)}, Kind.NO_DRILL),
        ({"drills": (drilled(day(180)),)}, Kind.NO_DRILL),
        ({"drills": (drilled(day(1), failed="lost"), drilled(day(2)))}, Kind.DRILL_FAILED),
    ],
)
def test_what_policy_asks_for_and_is_not_there_is_an_exception(
    changes: dict[str, Any], kind: Kind
) -> None:
    """One each."""
    assert kinds(made(facts(**changes))) == [kind]


@pytest.mark.parametrize(
    ("algorithm", "messages", "wrong"),
    [
        (Algorithm.AES_256_GCM, 2**32, False),
        (Algorithm.AES_256_GCM, 2**32 + 1, True),
        (Algorithm.XSALSA20_POLY1305, 2**40, False),
    ],
)
def test_more_messages_than_are_safe_are_an_exception(
    algorithm: Algorithm, messages: int, wrong: bool
) -> None:
    """Where random nonces may repeat."""
    keyring = facts()
    one = replace(keyring.versions[0], algorithm=algorithm, use=Use(messages=messages))
    keyring = replace(keyring, versions=(one, *keyring.versions[1:]))
    assert kinds(made(keyring)) == ([Kind.LIMIT] if wrong else [])


def test_what_cannot_be_reported_is_refused() -> None:
    """A keyring that is there twice, and a time that has not begun when it ends."""
    with pytest.raises(InvalidInput, match="payments is there 2 times"):
        report([facts(), facts()], [], verified([]), SPAN, made=MADE)
    with pytest.raises(InvalidInput, match="nothing is between"):
        report([], [], verified([]), Span(day(1), day(1)), made=MADE)


def test_strengths_are_those_of_the_algorithms() -> None:
    """A Fernet key has half of its bits for authentication."""
    assert strength(Algorithm.AES_128_GCM) == 128
    assert strength(Algorithm.CHACHA20_POLY1305) == 256
    assert strength(Algorithm.FERNET) == 128
    assert strength(Algorithm.AGE_X25519) == 128
    assert strength(Algorithm.PASSPHRASE) is None, "nobody knows how it was chosen"


ACTS = ("generate", "distribute", "activate", "rollback", "retire", "disable", "compromise",
        "destroy")  # fmt: skip


@st.composite
def lives(draw: st.DrawFn) -> Versions:
    """What may become of a keyring, an act a day."""
    ring = Versions()
    acts = draw(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 4)), max_size=30))
    for number, (act, version) in enumerate(acts):
        at = day(7 * number - 20)
        try:
            if act == "destroy":
                ring = ring.destroy(version, proof(at), FRESH, at=at, why="asked")
            elif act in ("generate", "rollback"):
                ring = getattr(ring, act)(at=at, why="x")
            else:
                ring = getattr(ring, act)(version, at=at, why="x")
        except Failure:
            continue
    return ring


@given(st.lists(lives(), max_size=4), st.data())
def test_every_version_appears_once_and_totals_match(
    rings: list[Versions], data: st.DataObject
) -> None:
    """And each lost record, or lost transition, is an exception: exactly those."""
    keyrings = [facts(ring, name=f"ring{number}") for number, ring in enumerate(rings)]
    events = said(*keyrings)
    lost = data.draw(st.sets(st.integers(0, max(len(events) - 1, 0)), max_size=3))
    kept = [each for number, each in enumerate(events) if number not in lost]
    found = made(*keyrings, records=log(kept))
    there = Counter(
        (keyring.facts.name, each.number) for keyring in found.keyrings for each in keyring.versions
    )
    assert there == Counter(
        (keyring.name, each.version.number) for keyring in keyrings for each in keyring.versions
    )
    assert found.totals["versions"] == sum(there.values())
    assert found.totals["versions"] == sum(found.totals[f"versions {state}"] for state in State)
    missing = [events[number][0] for number in lost if number < len(events)]
    unrecorded = [each for each in found.exceptions if each.kind is Kind.UNRECORDED]
    assert sorted(each.at for each in unrecorded if each.at) == sorted(
        at for at in missing if at in SPAN
    )
    assert not {Kind.UNKNOWN, Kind.TWICE, Kind.DIFFERS, Kind.LATE} & set(kinds(found))
    assert [ORDER[kind] for kind in kinds(found)] == sorted(ORDER[kind] for kind in kinds(found))
    codes = Counter(event.event for at, event in events if at in SPAN)
    assert len(found.rotations) == codes["key.activated"]
    assert len(found.destructions) == codes["key.destroyed"]
    assert len(found.compromises) == codes["key.compromised"]
