"""What was seen of a managed key is read back as it was, and anything else is begun anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kek.managed.port import KeyVersion, ManagedState
from certrotd.managed_keys.document import seen_in
from certrotd.managed_keys.policy import Seen
from tests.fakes.state import MemoryState

MOMENTS = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
VERSIONS = st.builds(KeyVersion, st.text(max_size=40), st.none() | MOMENTS, st.booleans())
SEEN = st.builds(
    Seen,
    st.builds(
        ManagedState,
        st.text(max_size=9),
        st.text(max_size=9),
        st.lists(VERSIONS, min_size=1, max_size=4).map(tuple),
        period=st.none() | st.integers(1, 10_000).map(lambda each: timedelta(days=each)),
        rotating=st.booleans(),
        rotations_left=st.none() | st.integers(0, 25),
        last_use=st.none() | MOMENTS,
        min_decryption_version=st.none() | st.integers(1, 99),
        min_available_version=st.none() | st.integers(1, 99),
    ),
    MOMENTS,
    MOMENTS,
    st.text(max_size=16),
    st.text(max_size=16),
)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
KNOWN = Seen(ManagedState("vault", "the key", (KeyVersion("1", NOW),)), NOW, NOW, "k")


@given(SEEN)
def test_what_was_seen_is_read_back(seen: Seen) -> None:
    """A look is as good as the answer of the service."""
    document = seen_in(MemoryState().document("managed-keys/a"))
    document.write(seen)
    assert document.read() == seen


@given(st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_whatever_else_is_there_is_not_read(text: bytes | str) -> None:
    """And raises nothing."""
    state = MemoryState()
    data = text if isinstance(text, bytes) else text.encode()
    state.document("managed-keys/a").write(data)
    assert seen_in(state.document("managed-keys/a")).peek() is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("state", "versions"), []),
        (("state", "versions"), [{"id": 1, "created": None, "decrypts": True}]),
        (("state", "versions"), [{"id": "1", "created": "2026-06-01", "decrypts": True}]),
        (("state", "period"), 1e300),
        (("state", "period"), "long"),
        (("state", "rotations_left"), "many"),
        (("state", "last_use"), 5),
        (("state", "min_decryption_version"), "first"),
        (("retired_before",), None),
        (("state", "place"), None),
        (("at",), None),
        (("since",), "yesterday"),
        (("key",), 7),
    ],
)
def test_a_document_with_one_wrong_part_is_begun_anew(path: tuple[str, ...], value: Any) -> None:
    """An older or newer certrotd wrote it, or somebody by hand."""
    state = MemoryState()
    document = state.document("managed-keys/a")
    seen_in(document).write(KNOWN)
    content = document.read()
    assert content is not None
    written = json.loads(content.data)
    part = written
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    document.write(json.dumps(written).encode())
    assert seen_in(document).peek() is None
    assert seen_in(document).read() is None
