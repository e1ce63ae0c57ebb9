"""What is answered: a status, a kind of content, and the content in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
# nothing is loaded but our own style and icon, no script runs, nobody frames it, nothing is sent on
_HEADERS = (
    "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Resource-Policy: same-origin",
    "Cross-Origin-Opener-Policy: same-origin",
    "Connection: close",
)
PIECE = 32 * 1024


@dataclass(frozen=True)
class Answer:
    """``body`` is text as a whole, or an iterable that is written out while it is being made.

    ``keep``: the content never changes under its address, so that browsers may keep it.
    """

    body: str | Iterable[str]
    kind: str = TEXT
    status: int = 200
    keep: bool = False

    def pieces(self, *, head: bool, chunks: bool) -> Iterator[bytes]:
        """The whole response as bytes; what has no known length goes in chunks where it may."""
        if isinstance(self.body, str):
            whole = _encoded(self.body)
            yield self._head(f"Content-Length: {len(whole)}")
            if not head:
                yield whole
            return
        yield self._head(*(["Transfer-Encoding: chunked"] if chunks else []))
        if head:
            return
        for piece in _gathered(self.body):
            yield b"%x\r\n%s\r\n" % (len(piece), piece) if chunks else piece
        if chunks:
            yield b"0\r\n\r\n"

    def _head(self, *more: str) -> bytes:
        cached = "public, max-age=31536000, immutable" if self.keep else "no-store"
        allow = ["Allow: GET, HEAD"] if self.status == 405 else []
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            f"Content-Type: {self.kind}",
            f"Cache-Control: {cached}",
            *allow,
            *more,
            *_HEADERS,
        ]
        return "\r\n".join((*lines, "", "")).encode("ascii")


def _gathered(parts: Iterable[str]) -> Iterator[bytes]:
    """Many small texts as few pieces; none is empty."""
    gathered: list[str] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= PIECE:
            yield _encoded("".join(gathered))
            gathered, size = [], 0
    if size:
        yield _encoded("".join(gathered))


def _encoded(text: str) -> bytes:
    # half a surrogate pair, which JSON can write and UTF-8 cannot, is shown by its number
    return text.encode(errors="backslashreplace")
