"""Nobody hears the same twice, and nothing that was lost stays unsaid."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.alerting import dedup
from certrotd.alerting.dedup import AlertsDocument, AlertState, Deduplicator, from_json, occasion
from certrotd.id import Id

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("known", "age", "expected"),
    [
        (None, HOUR, "raised"),
        (AlertState("a", NOW), HOUR, None),
        (AlertState("a", NOW), DAY, "reminder"),
        (AlertState("b", NOW), HOUR, "changed"),
        (AlertState("a", NOW), -HOUR, None),
        (AlertState("a", NOW), -DAY, "reminder"),
        (AlertState(on_its_way="a"), HOUR, None),
        (AlertState(on_its_way="a"), 2 * DAY, None),
        (AlertState(on_its_way="b"), HOUR, "changed"),
        (AlertState("a", NOW, on_its_way="b"), HOUR, "changed"),
        (AlertState("b", NOW, on_its_way="a"), HOUR, None),
        (AlertState("", None), HOUR, "changed"),
    ],
)
def test_an_incident_is_sent_when_it_begins_changes_or_lasts(
    known: AlertState | None, age: timedelta, expected: str | None
) -> None:
    """New, changed, or after a while; also by a clock that was set back."""
    assert occasion(known, "a", now=NOW + age, remind=DAY) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["met a", "met b", "delivered", "lost", "over"]),
            st.integers(0, 30),
        ),
        max_size=60,
    )
)
def test_only_changes_are_sent_before_the_reminder(steps: list[tuple[str, int]]) -> None:
    """By any course of events: never twice the same, and never silent about something unknown."""
    ledger, now = Deduplicator(), NOW
    told: tuple[str, datetime] | None = None  # what people know, and since when
    coming: str | None = None
    for step, hours in steps:
        now += timedelta(hours=hours)
        if step == "delivered" and coming is not None:
            ledger.delivered("k", coming, at=now)
            told, coming = (coming, now), None
        elif step == "lost" and coming is not None:
            ledger.lost("k", coming)
            coming = None
        elif step == "over":
            assert (ledger.over("k") is not None) == (told is not None or coming is not None)
            told = coming = None
        elif step.startswith("met"):
            likeness = step[-1]
            why = ledger.met("k", likeness, now=now, remind=DAY)
            known = coming or (told[0] if told and now - told[1] < DAY else None)
            assert (why is None) == (known == likeness)
            if why is not None:
                coming = likeness


def test_a_lost_alert_is_sent_at_the_next_occasion() -> None:
    """A service that was down for an hour does not cost a day."""
    ledger = Deduplicator()
    assert ledger.met("k", "a", now=NOW, remind=DAY) == "raised"
    ledger.lost("k", "a")
    assert ledger.met("k", "a", now=NOW, remind=DAY) == "raised"
    ledger.delivered("k", "a", at=NOW)
    ledger.lost("k", "a")  # of an older copy
    assert ledger.met("k", "a", now=NOW, remind=DAY) is None
    assert ledger.met("k", "a", now=NOW + DAY, remind=DAY) == "reminder"
    ledger.lost("k", "a")
    assert ledger.met("k", "a", now=NOW + DAY, remind=DAY) == "reminder"


def test_an_older_copy_that_arrives_is_not_the_newer_one() -> None:
    """The change is still on its way."""
    ledger = Deduplicator()
    ledger.met("k", "a", now=NOW, remind=DAY)
    assert ledger.met("k", "b", now=NOW, remind=DAY) == "changed"
    ledger.delivered("k", "a", at=NOW)
    assert ledger.met("k", "b", now=NOW, remind=DAY) is None
    ledger.lost("k", "b")
    assert ledger.met("k", "b", now=NOW, remind=DAY) == "changed"


def test_an_alert_that_arrives_after_its_end_stays_over() -> None:
    """Else the next time it would not be told."""
    ledger = Deduplicator()
    ledger.met("k", "kind a", now=NOW, remind=DAY)
    assert ledger.over("k") == "kind a"
    assert ledger.over("k") is None
    ledger.delivered("k", "kind a", at=NOW)
    ledger.lost("k", "kind a")
    assert len(ledger) == 0


def test_the_ledger_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr(dedup, "MOST", 3)
    ledger = Deduplicator()
    for number in range(10):
        ledger.met(f"k{number}", "a", now=NOW, remind=DAY)
    assert len(ledger) == 3
    assert ledger.over("k9") == "a"
    assert ledger.over("k0") is None


def test_alerts_of_removed_certificates_are_forgotten() -> None:
    """A certificate that left the configuration."""
    ledger = Deduplicator({"rotation/a": AlertState("x", NOW), "rotation/b": AlertState("x", NOW)})
    ledger.keep(lambda key: key.endswith("a"))
    assert ledger.over("rotation/b") is None
    assert ledger.over("rotation/a") == "x"


KNOWN = st.builds(
    AlertState,
    st.text(max_size=20),
    st.datetimes(timezones=st.just(UTC)),
    st.none() | st.just("on its way"),
)


@given(
    st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=9), KNOWN, max_size=4)),
    st.frozensets(
        st.builds(Id, st.just("certificate"), st.from_regex(r"[a-z]{1,5}", fullmatch=True))
    ),
)
def test_delivered_alerts_are_read_back_by_the_next_process(
    ledgers: dict[str, dict[str, AlertState]], waiting: frozenset[Id]
) -> None:
    """By the next process; what had not arrived is told again."""
    kept = AlertsDocument({name: Deduplicator(known) for name, known in ledgers.items()}, waiting)
    read = from_json(kept.to_json())
    assert read is not None
    assert read.to_json() == kept.to_json()
    for name, known in ledgers.items():
        for key, each in known.items():
            assert each.told is not None
            again = read.ledgers[name].met(key, each.likeness, now=each.told, remind=DAY)
            assert again is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"version": 3, "told": {}, "waiting": []}',
        b'{"version": 2, "told": []}',
        b'{"version": 1, "told": {"ops": {"k": ["a"]}}, "waiting": []}',
        b'{"version": 1, "told": {"ops": {"k": ["a", "2026-06-01"]}}, "waiting": []}',
        b'{"version": 2, "told": {}, "waiting": 3}',
        b'{"version": 2, "told": {}, "waiting": ["web"]}',
        b'{"version": 1, "told": {}, "waiting": ["no name"]}',
        b"[" * 100_000,
    ],
)
def test_a_foreign_file_is_not_read(data: bytes) -> None:
    """A file of a newer version, or of nobody."""
    assert from_json(data) is None


def test_a_file_of_version_1_is_read_as_one_of_certificates() -> None:
    """An older certrotd called them by their names; what it sent is not sent again."""
    when = NOW.isoformat()
    keys = ["rotation/web", "late/a.b", "trouble/web", "trouble/watch web", "trouble/the journals"]
    keys += ["watch/files of certificate/web", "clock", "left-out", "audit-damaged/20260601T120000"]
    told = {"ops": {key: ["stuck 12ab", when] for key in keys}}
    read = from_json(json.dumps({"version": 1, "told": told, "waiting": ["web"]}).encode())
    assert read is not None
    assert read.waiting == {Id("certificate", "web")}
    assert list(read.ledgers["ops"].to_json()) == [
        "rotation/certificate/web",
        "late/certificate/a.b",
        "trouble/certificate/web",
        "trouble/watch certificate/web",
        *keys[4:],
    ]
    assert read.ledgers["ops"].met("clock", "stuck 12ab", now=NOW + HOUR, remind=DAY) is None


@given(st.binary())
def test_any_bytes_are_read_or_not(data: bytes) -> None:
    """The file may have been through anything."""
    from_json(data)
