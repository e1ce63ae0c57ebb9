"""Heartbeats: what one says, what hostile ones may not say, and what many say together."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import InvalidInput
from certrotd.keyring import heartbeat
from certrotd.keyring.heartbeat import Heartbeat, increments, merged, parse

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLD, NEW = "0" * 64, "1" * 64
STALE = timedelta(minutes=3)


def beat(instance: int = 1, *, age: float = 0, has: str = NEW, **more: Any) -> Heartbeat:
    """Of the client shop, so many seconds ago."""
    at = NOW - timedelta(seconds=age)
    return Heartbeat("orders", "shop", f"{instance:016x}", at, has, **more)


HEARTBEATS = st.builds(
    Heartbeat,
    keyring=st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True),
    client=st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True),
    instance=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    at=st.datetimes(timezones=st.just(UTC)),
    delivery_hash=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    counts=st.dictionaries(
        st.integers(1, 10**10 - 1),
        st.tuples(st.integers(0, heartbeat.MOST), st.integers(0, heartbeat.MOST)),
        max_size=20,
    ),
    failures=st.integers(0, heartbeat.MOST),
)


@given(HEARTBEATS)
def test_a_heartbeat_is_read_as_it_was_written(told: Heartbeat) -> None:
    """Whatever it says."""
    assert parse(told.render()) == told


def test_the_largest_heartbeat_is_read() -> None:
    """The bound on its size leaves room for every version that it may count."""
    counts = {
        10**10 - 1 - n: (heartbeat.MOST, heartbeat.MOST) for n in range(heartbeat.MAX_VERSIONS)
    }
    assert parse(beat(counts=counts).render()).counts == counts


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_no_heartbeat_is_refused(data: bytes) -> None:
    """With one type of error, which the reader of a directory expects."""
    with pytest.raises(InvalidInput):
        parse(data)


@given(st.data())
def test_a_heartbeat_with_one_field_of_another_kind_is_refused(data: st.DataObject) -> None:
    """Nothing of a hostile heartbeat is taken for what it seems."""
    told = json.loads(beat(counts={1: (2, 3)}).render())
    name = data.draw(st.sampled_from(sorted(told)))
    told[name] = data.draw(
        st.none()
        | st.just("?")
        | st.just(True)
        | st.just([1])
        | st.just({"x": [1, 2]})
        | st.just(-1)
        | st.just({"1": [1]})
        | st.just({"1": [True, 1]})
        | st.just({"0": [1, 1]})
        | st.just(1.5)
    )
    with pytest.raises(InvalidInput):
        parse(json.dumps(told).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keyring": "../x"}, "keyring of a heartbeat is no name"),
        ({"client": "A shop"}, "client of a heartbeat is no name"),
        ({"instance": "f" * 15}, "16 hexadecimal digits"),
        ({"delivery": "F" * 64}, "no SHA-256"),
        ({"at": "2026-06-01T12:00:00"}, "not in UTC"),
        ({"at": "2026-06-01T14:00:00+02:00"}, "not in UTC"),
        ({"at": "2026-06-01 12:00:00+00:00"}, "ISO 8601"),
        ({"at": "yesterday"}, "ISO 8601"),
        ({"format": 2}, "not of format 1"),
        ({"failures": 2**63}, "negative or too large"),
        ({"counts": {str(n): [0, 0] for n in range(1, 1002)}}, "1000 versions at most"),
        ({"more": 1}, "fields"),
    ],
)
def test_what_is_wrong_with_a_heartbeat_is_said(change: dict[str, Any], message: str) -> None:
    """In one line, for whoever writes a client of their own."""
    told = json.loads(beat().render()) | change
    with pytest.raises(InvalidInput, match=message):
        parse(json.dumps(told).encode())


def test_a_heartbeat_of_another_size_is_refused_unread() -> None:
    """Whoever writes into the directory cannot fill the memory."""
    with pytest.raises(InvalidInput, match="65536 bytes at most"):
        parse(b" " * (heartbeat.MAX_BYTES + 1))


def test_a_time_elsewhere_than_in_utc_is_no_heartbeat() -> None:
    """What is compared has one form."""
    with pytest.raises(InvalidInput, match="UTC"):
        replace(beat(), at=NOW.astimezone(timezone(timedelta(hours=1))))


def test_who_has_the_delivery_and_who_has_another() -> None:
    """By what each of them said."""
    assert _merged(beat(1), beat(2)).having == (beat(1), beat(2))
    found = _merged(beat(1), beat(2, has=OLD))
    assert (found.having, found.lacking) == ((beat(1),), (beat(2, has=OLD),))


def test_nobody_speaks_for_those_who_were_never_heard_of() -> None:
    """No heartbeat at all is no acknowledgement."""
    assert _merged().having == ()


@pytest.mark.parametrize("has", [NEW, OLD])
def test_a_stale_instance_is_gone_whatever_it_had(has: str) -> None:
    """It holds nothing back, and it confirms nothing."""
    found = _merged(beat(1), beat(2, age=181, has=has))
    assert (found.having, found.lacking) == ((beat(1),), ())
    assert len(_merged(beat(1), beat(2, age=180)).having) == 2


def test_a_heartbeat_from_the_future_is_stale_too() -> None:
    """Else a clock that is years ahead would let an instance count as heard of for ever."""
    assert _merged(beat(age=-181)).having == ()


def test_the_last_heartbeat_of_an_instance_counts() -> None:
    """Whichever is read first."""
    beats = [beat(age=10, has=OLD), beat(age=5)]
    for order in (beats, beats[::-1]):
        assert _merged(*order).having == (beats[1],)


def test_the_heartbeats_of_another_keyring_are_left_out() -> None:
    """One directory may hold those of many."""
    assert _merged(replace(beat(has=OLD), keyring="invoices"), beat(2)).lacking == ()


def test_only_what_is_new_since_the_last_heartbeat_is_added() -> None:
    """So a keyring's own count never takes a message twice."""
    first = beat(counts={1: (5, 50)})
    then = beat(counts={1: (7, 50), 2: (1, 9)})
    assert increments(None, first) == {1: (5, 50)}
    assert increments(first, then) == {1: (2, 0), 2: (1, 9)}
    assert increments(then, then) == {}
    assert increments(then, first) == {}


def _merged(*beats: Heartbeat) -> heartbeat.Merged:
    return merged(beats, keyring="orders", expected=NEW, now=NOW, stale=STALE)
