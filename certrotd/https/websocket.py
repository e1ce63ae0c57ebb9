"""The frames of WebSocket (RFC 6455) as a client sends and reads them, without any extension."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_FINAL, _MASKED = 0x80, 0x80
_RESERVED = 0x70
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadFrame(Exception):
    """What came is no frame of a server, or too large."""


def new_key() -> str:
    """A value for Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()


def accepted(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a key."""
    return base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()  # noqa: S324


def frame(kind: int, content: bytes) -> bytes:
    """A whole message as a client sends it: masked, and short (control frames; at most 125)."""
    if len(content) > 125:
        raise ValueError("too long")
    mask = os.urandom(4)
    head = bytes((_FINAL | kind, _MASKED | len(content))) + mask
    return head + bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


class Messages:
    """Messages out of what a server sends, of at most ``limit`` bytes each."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._left = b""
        self._kind: int | None = None
        self._begun = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Those that are whole by now, each with its kind; raises BadFrame."""
        self._left += data
        while (found := self._frame()) is not None:
            first, content = found
            kind, final = first & 0x0F, bool(first & _FINAL)
            if kind >= CLOSE:
                if not final:
                    raise BadFrame("a control frame in parts")
                yield kind, content
                continue
            if (kind == _CONTINUATION) != (self._kind is not None):
                raise BadFrame("a message within another one, or the rest of none")
            self._kind = self._kind if kind == _CONTINUATION else kind
            self._begun += content
            if len(self._begun) > self._limit:
                raise BadFrame(f"a message of more than {self._limit} bytes")
            if final:
                whole, self._begun, self._kind = (self._kind, self._begun), b"", None
                assert whole[0] is not None
                yield whole[0], whole[1]

    def _frame(self) -> tuple[int, bytes] | None:
        """The first byte and the content of the next frame; None before it is whole."""
        data = self._left
        if len(data) < 2:
            return None
        if data[0] & _RESERVED or data[1] & _MASKED:
            raise BadFrame("a frame with an extension, or a client's")
        size, begin = data[1], 2
        if size > 125:
            begin = 4 if size == 126 else 10
            if len(data) < begin:
                return None
            size = int.from_bytes(data[2:begin])
        if size > self._limit:
            raise BadFrame(f"a frame of more than {self._limit} bytes")
        if len(data) < begin + size:
            return None
        self._left = data[begin + size :]
        return data[0], data[begin : begin + size]
