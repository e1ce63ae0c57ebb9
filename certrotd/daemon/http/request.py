"""What a request asks for, and which are refused whatever they ask for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes

import h11

from certrotd.address import is_ip
from certrotd.errors import Failure

_MAX_TARGET = 2000
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.ASCII)
_MOST_PARAMETERS = 16


class RequestRefused(Failure):
    """A request that is not answered with what it asks for; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What is asked for: ``path`` is decoded, ``query`` has the first value of each parameter."""

    path: str
    query: dict[str, str] = field(default_factory=dict)


def understood(request: h11.Request, hosts: Collection[str] | None) -> Request:
    """What ``request`` asks for; the whole path is decoded once. Raises RequestRefused.

    ``hosts`` are the names by which it may be called (None: by any). That there is one Host, and
    one length at most, h11 has seen to.
    """
    headers = dict(request.headers)
    if request.http_version not in (b"1.0", b"1.1"):
        raise RequestRefused(400, "neither HTTP/1.0 nor HTTP/1.1")
    if not request.target.startswith(b"/") or len(request.target) > _MAX_TARGET:
        raise RequestRefused(400, f"a request is for a path of at most {_MAX_TARGET} bytes")
    if b"transfer-encoding" in headers or int(headers.get(b"content-length", 0)):
        raise RequestRefused(400, "a body where none belongs")
    called = headers.get(b"host")
    if called is not None and hosts is not None and not _is_ours(called.decode("latin-1"), hosts):
        raise RequestRefused(
            421, "this server goes by another name: see hosts in its configuration"
        )
    if request.method not in (b"GET", b"HEAD"):
        raise RequestRefused(405, "nothing can be changed here: GET and HEAD are all there is")
    path, _, query = request.target.partition(b"?")
    return Request(_text(path), _parameters(query))


def _is_ours(called: str, hosts: Collection[str]) -> bool:
    """Whether a browser that asks for ``called`` cannot have been led here by somebody's DNS.

    An address is nobody's name; localhost never comes from the DNS (RFC 6761 §6.3).
    """
    match = _HOST.fullmatch(called)
    if not match:
        return False
    host = match[1].strip("[]").lower().removesuffix(".")
    return host == "localhost" or host in hosts or is_ip(host)


def _text(raw: bytes) -> str:
    """Decoded once; raises RequestRefused for what is no text."""
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise RequestRefused(400, "a path that is no UTF-8") from None
    if not text.isprintable():
        raise RequestRefused(400, "a path with control characters")
    return text


def _parameters(query: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise RequestRefused(400, "a query that cannot be read") from None
    for name, value in pairs:
        found.setdefault(name, value)
    return found
