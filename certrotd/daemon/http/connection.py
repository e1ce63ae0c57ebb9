"""One request and its answer as bytes (RFC 9112), as h11 has them, and a little stricter."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from http import HTTPStatus

import h11

from certrotd.daemon.http.request import Request, RequestRefused, understood
from certrotd.daemon.http.response import Response

MAX_HEAD = 8192
# h11 takes lines that end in a line feed alone, folded ones, and most control characters
_LAX = re.compile(rb"(?<!\r)\n|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Connection:
    """Take what comes until that is a request, then write one answer; a connection has no second.

    ``hosts`` are the names by which the server may be called (None: by any).
    """

    def __init__(self, hosts: Collection[str] | None) -> None:
        self._hosts = hosts
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD - 1)
        self._came = bytearray()
        self._method = b""

    @property
    def room(self) -> int:
        """How many bytes may still come, at least 1."""
        return MAX_HEAD - len(self._came)

    def take(self, data: bytes) -> Request | None:
        """The request, if it ends with these bytes, at most ``room``. Raises RequestRefused."""
        self._came += data
        self._http.receive_data(data)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                raise RequestRefused(431, f"a request is at most {MAX_HEAD} bytes") from None
            # whose words repeat what came
            raise RequestRefused(error.error_status_hint, "not a request of HTTP/1.1") from None
        if not isinstance(event, h11.Request):
            return None
        self._method = event.method
        beyond, _ = self._http.trailing_data
        if _LAX.search(self._came.removesuffix(beyond)):
            raise RequestRefused(
                400, "lines that are folded or end strangely, or control characters"
            )
        return understood(event, self._hosts)

    def written(self, answer: Response) -> Iterator[bytes]:
        """The response in pieces; what has no known length goes in chunks where it may."""
        headers, content = answer.content()
        reason = HTTPStatus(answer.status).phrase
        yield self._http.send(
            h11.Response(status_code=answer.status, reason=reason, headers=headers)
        )
        if self._method != b"HEAD":
            for piece in content:
                yield self._http.send(h11.Data(data=piece))
        yield self._http.send(h11.EndOfMessage())
