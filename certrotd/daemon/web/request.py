"""One HTTP request, read strictly and within bounds (RFC 9112): a line, headers, never a body."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote_to_bytes

from certrotd.errors import Failure

MAX_HEAD = 8192
MAX_HEADERS = 64
_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]{0,2000}) HTTP/1\.([01])", re.ASCII)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([\x20-\x7e\t\x80-\xff]*)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.ASCII)
_MOST_PARAMETERS = 16


class Refused(Failure):
    """A request that is not answered with what it asks for; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What is asked for: ``path`` is decoded, ``query`` has the first value of each parameter."""

    path: str
    query: dict[str, str] = field(default_factory=dict)
    head: bool = False
    chunks: bool = False
    """Whether the client understands chunks, which tell it when the end was cut off."""


def parse_request(head: bytes, hosts: Collection[str] | None) -> Request:
    """The request of everything up to the empty line, which may be left out.

    ``hosts`` are the names by which it may be called (None: by any). Raises Refused.
    """
    line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _LINE.fullmatch(line)
    if not match:
        raise Refused(400, "not a request this server understands")
    method, target, minor = match.groups()
    _check_headers(headers, hosts, late=minor == b"1")
    if method not in (b"GET", b"HEAD"):
        raise Refused(405, "nothing can be changed here: GET and HEAD are all there is")
    path, _, query = target.partition(b"?")
    return Request(_text(path), _parameters(query), method == b"HEAD", minor == b"1")


def _check_headers(headers: list[bytes], hosts: Collection[str] | None, *, late: bool) -> None:
    if len(headers) > MAX_HEADERS:
        raise Refused(431, f"more than {MAX_HEADERS} headers")
    called: list[bytes] = []
    for header in headers:
        match = _HEADER.fullmatch(header)
        if not match:
            raise Refused(400, "a header that is none")
        name, value = match[1].lower(), match[2].strip()
        if name == b"host":
            called.append(value)
        elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            raise Refused(400, "a body where none belongs")
    if len(called) > 1 or (late and not called):
        raise Refused(400, "a request says once which host it is for")
    if called and hosts is not None and not _is_ours(called[0].decode("latin-1"), hosts):
        raise Refused(421, "this server goes by another name: see hosts in its configuration")


def _is_ours(called: str, hosts: Collection[str]) -> bool:
    """Whether a browser that asks for ``called`` cannot have been led here by somebody's DNS.

    An address is nobody's name; localhost never comes from the DNS (RFC 6761 §6.3).
    """
    match = _HOST.fullmatch(called)
    if not match:
        return False
    host = match[1].strip("[]").lower().removesuffix(".")
    if host == "localhost" or host in hosts:
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _text(raw: bytes) -> str:
    """Decoded once; raises Refused for what is no text."""
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise Refused(400, "a path that is no UTF-8") from None
    if not text.isprintable():
        raise Refused(400, "a path with control characters")
    return text


def _parameters(query: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise Refused(400, "a query that cannot be read") from None
    for name, value in pairs:
        found.setdefault(name, value)
    return found
