"""HTTP/1.1 on a connection that is open already (RFC 9112): one request, one bounded answer.

The standard library reads headers with its parser for e-mails, and urllib3 wraps what it makes of
them twice: together that is a fifth of the processor time of a certificate.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
MAX_INTERIM = 10
_CHUNK_LINE = 256
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\0-\x08\x0a-\x1f\x7f]*))?")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?")


class Malformed(Exception):
    """What came is no answer in HTTP/1.1, or stops in the middle of one."""


class TooLarge(Exception):
    """The content is larger than its limit, packed or unpacked."""


@dataclass(frozen=True)
class Answer:
    """The names of ``headers`` are in lower case; ``final``: nothing more comes on this way."""

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes
    final: bool


def request(
    method: str, target: str, host: str, headers: Mapping[str, str], body: str | None
) -> bytes:
    """A request in one piece: one TLS record and one system call."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is None:
        return "\r\n".join([*lines, "\r\n"]).encode("ascii")
    content = body.encode()
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + content


def read_answer(receive: Callable[[], bytes], method: str, *, limit: int) -> Answer:
    """The answer to a request; ``receive`` gives what has come, b"" once the other side is done.

    Raises TooLarge beyond ``limit`` bytes of content, Malformed, and what ``receive`` raises.
    """
    buffer = _Buffer(receive)
    for _ in range(MAX_INTERIM):
        version, status, reason, headers = _head(buffer)
        if status >= 200:
            break
    else:
        raise Malformed(f"{MAX_INTERIM} interim answers and no final one")
    framed = True
    if method == "HEAD" or status in (204, 304):
        content = b""
    elif "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise Malformed("a transfer encoding nobody asked for")
        content = _chunks(buffer, limit)
    elif "content-length" in headers:
        content = buffer.take(_length(headers["content-length"], limit))
    else:
        content, framed = buffer.rest(limit), False
    closes = "close" in headers.get("connection", "").lower()
    final = not framed or closes or version == "0" or not buffer.empty
    return Answer(status, reason, headers, _unpacked(content, headers, limit), final)


class _Buffer:
    """What has come and is not used yet."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._data = bytearray()

    @property
    def empty(self) -> bool:
        return not self._data

    def until(self, mark: bytes, limit: int) -> bytes:
        """What stands before the next ``mark``; both are used up."""
        while (found := self._data.find(mark, 0, limit)) < 0:
            if len(self._data) >= limit:
                raise Malformed(f"more than {limit} bytes without an end")
            self._more()
        before = bytes(self._data[:found])
        del self._data[: found + len(mark)]
        return before

    def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._data) < count:
            self._more()
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def rest(self, limit: int) -> bytes:
        """Everything up to the end of the connection."""
        while len(self._data) <= limit:
            part = self._receive()
            if not part:
                return self.take(len(self._data))
            self._data += part
        raise TooLarge

    def _more(self) -> None:
        part = self._receive()
        if not part:
            raise Malformed("the connection was closed in the middle of an answer")
        self._data += part


def _head(buffer: _Buffer) -> tuple[str, int, str, dict[str, str]]:
    first, *lines = buffer.until(b"\r\n\r\n", MAX_HEAD).decode("latin-1").split("\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise Malformed(f"it begins with {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Malformed(f"a header line is {line[:80]!r}")
        name, value = field[1].lower(), field[2].rstrip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return status[1], int(status[2]), status[3] or "", headers


def _length(value: str, limit: int) -> int:
    if not _LENGTH.fullmatch(value):
        raise Malformed(f"its length is {value[:80]!r}")
    if int(value) > limit:
        raise TooLarge
    return int(value)


def _chunks(buffer: _Buffer, limit: int) -> bytes:
    """The content in chunks (RFC 9112 §7.1); their extensions and the trailer are passed over."""
    content = bytearray()
    while True:
        line = buffer.until(b"\r\n", _CHUNK_LINE)
        size = _CHUNK.fullmatch(line)
        if size is None:
            raise Malformed(f"a chunk begins with {line[:80]!r}")
        count = int(size[1], 16)
        if len(content) + count > limit:
            raise TooLarge
        if count == 0:
            break
        content += buffer.take(count)
        if buffer.take(2) != b"\r\n":
            raise Malformed("a chunk is longer than it says")
    room = MAX_HEAD
    while line := buffer.until(b"\r\n", room):
        room = max(0, room - len(line))
    return bytes(content)


def _unpacked(content: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """The content, unpacked where a server compressed it unasked (RFC 9110 §12.5.3)."""
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding == "identity" or not content:
        return content
    if encoding not in ("gzip", "x-gzip"):
        raise Malformed(f"its content is in the encoding {encoding[:80]!r}")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(content, limit + 1)
    except zlib.error as error:
        raise Malformed("its content cannot be unpacked") from error
    if len(unpacked) > limit:
        raise TooLarge
    if not unpacker.eof:
        raise Malformed("its packed content stops in the middle")
    return unpacked
