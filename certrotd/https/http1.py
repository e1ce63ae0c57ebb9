"""HTTP/1.1 on a connection that is open already (RFC 9112): one request, one bounded answer.

h11 reads and writes it. A session of requests passes every header through a parser for e-mails
and wraps it twice: that was a fifth of the processor time of a certificate.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import h11

from certrotd.errors import NeedsOperator

MAX_HEAD = 64 * 1024
MAX_INTERIM = 10
_START = b"HTTP/1."


class Malformed(Exception):
    """What came is no answer in HTTP/1.1, or stops in the middle of one."""


class ContentTooLarge(Exception):
    """The content is larger than its limit."""


@dataclass(frozen=True)
class Answer:
    """The names of ``headers`` are in lower case; ``final``: nothing more comes on this way."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    final: bool


class Exchange:
    """One request, whose bytes are ``message``, and then its answer.

    Raises NeedsOperator for what is no request, without what is in its headers.
    """

    def __init__(
        self, method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._ended = False
        self._start = b""
        fields = [("Host", host), ("Accept-Encoding", "identity"), *headers.items()]
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        try:
            head = self._http.send(h11.Request(method=method, target=target, headers=fields)) or b""
        except (h11.LocalProtocolError, UnicodeError):
            head = b""
        if not head:  # outside of the except: what h11 says has the value in it, maybe a secret
            raise NeedsOperator(
                f"the request to {host} cannot be written as HTTP/1.1",
                hint="a header is to be one line of ASCII with no space at its ends: check secrets",
            )
        data = self._http.send(h11.Data(body)) if body else b""
        self._http.send(h11.EndOfMessage())
        # in one piece: one TLS record and one system call
        self.message = head + (data or b"")

    def read(
        self,
        receive: Callable[[], bytes],
        *,
        limit: int,
        enough: Callable[[bytes], bool] | None = None,
    ) -> Answer:
        """The answer; ``receive`` gives what has come, b"" once the other side is done.

        The content of a success goes to ``enough``, piece by piece until that is true, and is not
        kept.

        Raises ContentTooLarge beyond ``limit`` bytes of content, Malformed, and what ``receive``
        raises.
        """
        head = self._head(receive)
        try:
            content = self._content(receive, limit, enough if head.status_code < 300 else None)
        except h11.RemoteProtocolError as error:
            raise self._malformed(error) from error
        headers = _joined(head.headers)
        encoding = headers.get("content-encoding", "identity")
        if content and encoding.lower() != "identity":
            raise Malformed(f"its content is in the encoding {encoding[:80]!r}, unasked")
        goes_on = self._http.their_state is h11.DONE and self._http.our_state is h11.DONE
        final = not goes_on or self._http.trailing_data != (b"", False)
        return Answer(head.status_code, headers, content, final)

    def begin(self, receive: Callable[[], bytes], *, limit: int) -> Answer | None:
        """As read(); but None for a success, whose content more() gives."""
        head = self._head(receive)
        if head.status_code < 300:
            return None
        content = self._content(receive, limit)
        return Answer(head.status_code, _joined(head.headers), content, final=True)

    def more(self, data: bytes | None) -> tuple[bytes, bool]:
        """The content that ``data`` makes (None: no more has come), and whether that is its end.

        Raises Malformed.
        """
        content = bytearray()
        try:
            if data is not None:
                self._http.receive_data(data)
            while isinstance(event := self._http.next_event(), h11.Data):
                content += event.data
        except h11.RemoteProtocolError as error:
            raise self._malformed(error) from error
        return bytes(content), isinstance(event, h11.EndOfMessage)

    def judge(self, receive: Callable[[], bytes], *, limit: int) -> Answer:
        """As read(), for whom the status is enough.

        Nothing of a success's content is read, and of another's what comes of its first octets.
        """
        head = self._head(receive)
        content = bytearray()
        if head.status_code >= 300:
            with contextlib.suppress(OSError, h11.RemoteProtocolError):
                while len(content) < limit and isinstance(event := self._next(receive), h11.Data):
                    content += event.data
        return Answer(head.status_code, _joined(head.headers), bytes(content[:limit]), final=True)

    def _head(self, receive: Callable[[], bytes]) -> h11.Response:
        try:
            for _ in range(MAX_INTERIM):
                event = self._next(receive)
                if isinstance(event, h11.Response):
                    return event
        except h11.RemoteProtocolError as error:
            raise self._malformed(error) from error
        raise Malformed(f"{MAX_INTERIM} interim answers and no final one")

    def _content(
        self,
        receive: Callable[[], bytes],
        limit: int,
        enough: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        content, size = bytearray(), 0
        while isinstance(event := self._next(receive), h11.Data):
            size += len(event.data)
            if size > limit:
                raise ContentTooLarge
            if enough is None:
                content += event.data
            elif enough(bytes(event.data)):
                break
        return bytes(content)

    def _malformed(self, error: Exception) -> Malformed:
        cut = "the connection was closed in the middle of an answer"
        return Malformed(cut if self._ended else str(error))

    def _next(self, receive: Callable[[], bytes]) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = receive()
            self._ended = not data
            self._start += data[: len(_START) - len(self._start)]
            if not _START.startswith(self._start):  # h11 would wait for the end of a head
                raise Malformed("illegal status line: it does not speak HTTP/1.1")
            self._http.receive_data(data)
        return event


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Lines of one name are one list (RFC 9110 §5.3)."""
    joined: dict[str, str] = {}
    for raw, content in fields:
        name, value = raw.decode("latin-1"), content.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
