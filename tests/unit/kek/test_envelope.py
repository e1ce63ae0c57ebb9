"""What surrounds a wrapped key: read from anybody, and refused with one typed failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kek import envelope, sealing
from certrotd.kek.port import ContextMismatch, Damaged, KekRefused, WrongKek

KEK = bytes(range(32))
CONTEXTS = st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3)


@given(st.binary(max_size=80), CONTEXTS)
def test_whatever_is_no_wrapped_key_is_refused(data: bytes, context: dict[str, str]) -> None:
    """Also where it begins as one."""
    for each in (data, envelope.MAGIC + data):
        with pytest.raises(KekRefused):
            sealing.unwrap(KEK, each, context, "main")


@given(st.binary(max_size=80), CONTEXTS, CONTEXTS)
def test_a_key_is_unwrapped_in_its_context_alone(
    key: bytes, one: dict[str, str], other: dict[str, str]
) -> None:
    """Whatever characters names and values have: none runs into the next."""
    wrapped = sealing.wrap(KEK, key, one)
    assert sealing.unwrap(KEK, wrapped, one, "main") == key
    if one != other:
        with pytest.raises(ContextMismatch):
            sealing.unwrap(KEK, wrapped, other, "main")


def test_the_context_is_authenticated_and_not_only_compared() -> None:
    """Whoever writes another hash of it into the envelope gains nothing."""
    body = envelope.opened(sealing.wrap(KEK, b"key", {"keyring": "a"}), {"keyring": "a"}).body
    moved = envelope.sealed(sealing.identified(KEK), body, {"keyring": "b"})
    with pytest.raises(Damaged, match="main does not authenticate it"):
        sealing.unwrap(KEK, moved, {"keyring": "b"}, "main")
    other = envelope.sealed(sealing.identified(bytes(32)), body, {"keyring": "a"})
    with pytest.raises(WrongKek):
        sealing.unwrap(KEK, other, {"keyring": "a"}, "main")
    with pytest.raises(Damaged):
        sealing.unwrap(bytes(32), other, {"keyring": "a"}, "main")


def test_a_wrapped_key_that_moved_is_named_by_its_context() -> None:
    """An operator sees which place it does not belong to."""
    wrapped = sealing.wrap(KEK, b"key", {"keyring": "a", "version": "1"})
    with pytest.raises(ContextMismatch, match="not the one of keyring b, version 1"):
        sealing.unwrap(KEK, wrapped, {"version": "1", "keyring": "b"}, "main")
