"""Frames of WebSocket: whole messages come out however they arrive, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.https.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    BadFrame,
    Messages,
    accepted,
    frame,
    new_key,
)


def served(kind: int, content: bytes, *, final: bool = True) -> bytes:
    """A frame as a server sends it (RFC 6455 §5.2)."""
    first = bytes([(0x80 if final else 0) | kind])
    if len(content) < 126:
        return first + bytes([len(content)]) + content
    wide = len(content) > 0xFFFF
    return first + bytes([127 if wide else 126]) + len(content).to_bytes(8 if wide else 2) + content


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING, CLOSE]), st.binary(max_size=300))),
    st.integers(1, 50),
)
def test_messages_come_out_however_they_arrive(sent: list[tuple[int, bytes]], size: int) -> None:
    """A connection knows no frames."""
    stream = b"".join(served(*each) for each in sent)
    messages = Messages(limit=1000)
    pieces = (stream[at : at + size] for at in range(0, len(stream), size))
    assert [found for piece in pieces for found in messages.feed(piece)] == sent


def test_a_message_in_parts_is_put_together() -> None:
    """What comes in between is not part of it (RFC 6455 §5.4)."""
    parts = served(BINARY, b"a" * 200, final=False) + served(PING, b"?")
    parts += served(0, b"b" * 70_000, final=False) + served(0, b"c")
    found = list(Messages(limit=100_000).feed(parts))
    assert found == [(PING, b"?"), (BINARY, b"a" * 200 + b"b" * 70_000 + b"c")]


@pytest.mark.parametrize(
    "data",
    [
        served(BINARY, b"x" * 101),
        served(BINARY, b"x" * 60, final=False) + served(0, b"x" * 60),
        bytes([0x82, 127]) + (2**63).to_bytes(8),
        served(0, b"the rest of none"),
        served(BINARY, b"a", final=False) + served(BINARY, b"within"),
        served(PING, b"", final=False),
        bytes([0xC2, 0]),  # an extension's bit
        frame(BINARY, b"a client's"),
    ],
    ids=["long", "long in all", "huge", "rest", "within", "control", "extension", "client"],
)
def test_what_is_no_frame_of_a_server_or_too_large_is_refused(data: bytes) -> None:
    """Before it takes any memory."""
    with pytest.raises(BadFrame):
        list(Messages(limit=100).feed(data))


def test_a_client_masks_what_it_sends() -> None:
    """A server closes the connection otherwise (RFC 6455 §5.1)."""
    sent = frame(PONG, b"hello")
    assert (sent[0], sent[1]) == (0x80 | PONG, 0x80 | 5)
    assert bytes(byte ^ sent[2 + at % 4] for at, byte in enumerate(sent[6:])) == b"hello"
    with pytest.raises(ValueError, match="too long"):
        frame(PONG, b"x" * 126)


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    """Its example (RFC 6455 §1.3)."""
    assert accepted("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert new_key() != new_key()
