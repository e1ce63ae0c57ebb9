"""Frames, and keyrings within them: whole, bounded, and shown to nobody by an error."""

from __future__ import annotations

import copy
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.clock import Deadline, ManualClock, SystemClock
from certrotd.errors import InvalidInput
from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.keyserver.wire import Ended, Provided, frame, provided, receive, send
from tests.unit.client.sealed import Sealed

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = st.lists(
    st.builds(
        lambda algorithm, id_, iv, state: (algorithm, id_, iv, state),
        st.sampled_from(sorted(Algorithm)),
        st.from_regex(r"[0-9a-z]{0,10}", fullmatch=True),
        st.binary(max_size=16),
        st.sampled_from([each for each in State if each.delivered]),
    ),
    min_size=1,
    max_size=4,
)


@given(KEYS, st.data(), st.integers(0, 2**40))
def test_a_keyring_arrives_as_it_was_sent(
    keys: list[tuple[Algorithm, str, bytes, State]], data: st.DataObject, revision: int
) -> None:
    """Every key, which of them encrypts, and what is counted of each."""
    given_keys = [
        Delivered(
            DataKey(n, algorithm, Material(bytes([n]) * algorithm.key_bytes), id_, iv), state, NOW
        )
        for n, (algorithm, id_, iv, state) in enumerate(keys, 1)
    ]
    active = data.draw(st.integers(1, len(keys)))
    used = {n: data.draw(st.integers(0, 2**50)) for n in range(1, len(keys) + 1)}
    sent = Provided(Delivery("orders", given_keys, active), revision, used)
    told = json.loads(json.dumps(sent.render()))
    assert provided(told) == sent


JSON: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text() | st.just([]) | st.just({})
)


@given(st.data())
def test_an_answer_with_anything_else_in_it_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """In one line that shows nothing of the keys beside it."""
    told = Provided(Sealed(tmp_path_factory.mktemp("wire")).delivery, 3, {1: 5}).render()
    place: Any = told
    if data.draw(st.booleans()):
        place = told["keys"][0]
    name = data.draw(st.sampled_from(sorted(place)))
    before = place[name]
    place[name] = data.draw(JSON)
    said = ""
    try:
        provided(told)
    except InvalidInput as refused:
        said = str(refused)
    # or it is some other value that is as good
    assert said == "the server's answer is no keyring" or type(place[name]) is type(before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("state", "destroyed"), ("created", "2026-06-01T00:00:00"), ("material", "AAAA"), ("id", 1)],
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, name: str, value: object) -> None:
    """Each for its own reason, none of which is told."""
    told = Provided(Sealed(tmp_path).delivery).render()
    changed = copy.deepcopy(told)
    changed["keys"][0][name] = value
    with pytest.raises(InvalidInput, match="is no keyring"):
        provided(changed)
    assert provided(told).delivery.active == 1


def test_a_frame_has_its_bounds() -> None:
    """On both sides, before anything is kept in memory."""
    with pytest.raises(InvalidInput, match="13 bytes are more than the 12"):
        frame({"a": "12345"}, most=12)
    assert frame({"a": "1234"}, most=12) == b'\0\0\0\x0c{"a":"1234"}'
    with pytest.raises(InvalidInput, match="12 bytes at most"):
        received(b"\0\0\0\x0d{}", most=12)


def received(data: bytes, most: int = 100) -> object:
    """What comes of bytes after which the other side hangs up."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return receive(ours, Deadline(SystemClock(), 60), most=most)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    """Cut short, not JSON, or no object."""
    with pytest.raises(InvalidInput):
        received(data)


@pytest.mark.parametrize("text", [b"[]", b"1", b"{", b"\xff", b"[" * 90])
def test_json_that_is_no_object_is_refused(text: bytes) -> None:
    """However deep it goes."""
    with pytest.raises(InvalidInput, match="a frame is a JSON object"):
        received(len(text).to_bytes(4) + text)
    assert received(b"\0\0\0\x02{}") == {}


def test_a_frame_that_ends_early_is_refused() -> None:
    """As where the other side was killed."""
    with pytest.raises(Ended, match="within a frame"):
        received(b"\0\0\0\x02{")


def test_nothing_is_waited_for_past_the_deadline() -> None:
    """Neither to come nor to be taken."""
    ours, theirs = socket.socketpair()
    passed = Deadline(ManualClock(NOW), 0)
    with ours, theirs:
        with pytest.raises(TimeoutError):
            receive(ours, passed, most=10)
        with pytest.raises(TimeoutError):
            send(ours, b"x", passed)
        with pytest.raises(TimeoutError):
            receive(ours, Deadline(SystemClock(), 0.01), most=10)
