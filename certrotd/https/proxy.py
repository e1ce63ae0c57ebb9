"""A tunnel through a proxy (RFC 9110 §9.3.6), no step of which outlasts the deadline."""

from __future__ import annotations

import ssl
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

from requests.utils import get_auth_from_url

from certrotd.dial import SLICE, Timeout, connect
from certrotd.errors import NeedsOperator
from certrotd.https.connect import receive, secured, send
from certrotd.https.http1 import MAX_HEAD, ContentTooLarge, Exchange, Malformed

_PORTS = {"http": 80, "https": 443}
_CHUNK = 64 * 1024


def tunnel(proxy: str, context: ssl.SSLContext, host: str, port: int, timeout: Timeout) -> Any:
    """TLS with the host through the proxy, whose own certificate the machine's roots verify.

    Raises NeedsOperator for a proxy that is none, and OSError.
    """
    scheme, name, number, login = _parsed(proxy, host)
    way: Any = connect(name, number, timeout=timeout)
    try:
        way.settimeout(SLICE)
        if scheme == "https":
            way = secured(way, name, ssl.create_default_context(), timeout)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        _ask(way, Exchange("CONNECT", place, place, login, None), timeout)
        return (
            secured(way, host, context, timeout)
            if scheme == "http"
            else _twice(way, host, context, timeout)
        )
    except BaseException:
        way.close()
        raise


def _parsed(proxy: str, host: str) -> tuple[str, str, int, dict[str, str]]:
    """Its scheme, name and port, and the header that logs in."""
    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(address)
        port = parts.port
        user, password = get_auth_from_url(address)
        basic = b64encode(f"{user}:{password}".encode("latin-1")).decode()
    except ValueError:  # its words may have the password in them
        parts, port, user, basic = urlsplit(""), None, "", ""
    if not parts.hostname:
        raise NeedsOperator(
            f"there is no way to {host}: its proxy cannot be read",
            hint="HTTPS_PROXY is a URL such as http://user:password@proxy.example:3128",
        )
    if parts.scheme not in _PORTS:
        raise NeedsOperator(
            f"there is no way to {host}: its proxy speaks {parts.scheme[:20]}",
            hint="HTTPS_PROXY may be an http or https proxy; NO_PROXY names hosts to ask directly",
        )
    login = {"Proxy-Authorization": f"Basic {basic}"} if user else {}
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme], login


def _ask(way: Any, exchange: Exchange, timeout: Timeout) -> None:
    send(way, exchange.message, timeout)
    try:
        answer = exchange.begin(lambda: receive(way, _CHUNK, timeout, begun=False), limit=MAX_HEAD)
    except (Malformed, ContentTooLarge) as error:
        raise OSError(f"the proxy answers no CONNECT: {error or 'too much content'}") from None
    if answer is not None:
        raise OSError(f"the proxy refused the tunnel with HTTP status {answer.status}")


def _twice(way: Any, host: str, context: ssl.SSLContext, timeout: Timeout) -> Any:
    """TLS in TLS, which Python's own sockets cannot."""
    from urllib3.util.ssltransport import SSLTransport

    # as for any other connection an end without a farewell is none, see secured()
    sock = SSLTransport(
        _Within(way, timeout),  # type: ignore[arg-type]
        context,
        server_hostname=host,
        suppress_ragged_eofs=False,
    )
    sock.socket = way
    return sock


class _Within:
    """As much of a socket as a handshake over it needs, within the deadline."""

    def __init__(self, way: Any, timeout: Timeout) -> None:
        self._way, self._timeout = way, timeout

    def sendall(self, data: bytes) -> None:
        """All of it."""
        send(self._way, data, self._timeout)

    def recv(self, size: int) -> bytes:
        """What has come."""
        return receive(self._way, size, self._timeout, begun=True)
