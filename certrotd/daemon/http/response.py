"""What is answered: a status, a kind of content, and the content in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

# nothing is loaded but our own style and icon, no script runs, nobody frames it, nothing is sent on
_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Connection", "close"),
)
PIECE = 32 * 1024


@dataclass(frozen=True)
class Response:
    """``body`` is text as a whole, or an iterable that is written out while it is being made.

    ``keep``: the content never changes under its address, so that browsers may keep it.
    """

    body: str | Iterable[str]
    kind: str = TEXT
    status: int = 200
    keep: bool = False

    def content(self) -> tuple[list[tuple[str, str]], Iterable[bytes]]:
        """Its headers, with the length where it is known, and its content in pieces."""
        headers = [
            ("Content-Type", self.kind),
            ("Cache-Control", "public, max-age=31536000, immutable" if self.keep else "no-store"),
            *([("Allow", "GET, HEAD")] if self.status == 405 else []),
            *_HEADERS,
        ]
        if not isinstance(self.body, str):
            return headers, _gathered(self.body)
        whole = _encoded(self.body)
        return [*headers, ("Content-Length", str(len(whole)))], [whole]


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
