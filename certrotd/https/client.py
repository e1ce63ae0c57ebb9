"""Requests over HTTP/1.1 and TLS: pinned trust, bounded answers, and who is to blame for none."""

from __future__ import annotations

import select
import socket
import ssl
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from requests.utils import get_environ_proxies, select_proxy

from certrotd.dial import (
    RESOLVER,
    SLICE,
    NotLookedUp,
    Timeout,
    connect,
    connect_path,
    look_up,
    ready,
)
from certrotd.errors import NeedsOperator, Transient, one_line
from certrotd.https.connect import receive, secured, send
from certrotd.https.http1 import Answer, ContentTooLarge, Exchange, Malformed
from certrotd.https.proxy import tunnel
from certrotd.https.stream import Stream

MAX_RESPONSE = 1024 * 1024
MAX_KEPT = 4
_CHUNK = 64 * 1024
_DATES = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED of OpenSSL."""
_CLOCK = "it has to be renewed, or the clock of this machine is wrong"

Permit = Callable[[str, Iterable[str], Callable[[str], Iterable[str]]], None]
"""Raises unless a host may be asked at its addresses; the last gives those of another host."""


class Lost(Transient):
    """No answer came; ``sent`` says whether the other side may have received the request."""

    def __init__(self, message: str, *, sent: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sent = sent


class HttpsClient:
    """One thread's keep-alive connections; what it shares with others is the TLS ``context``.

    Without a context it speaks plain HTTP, to this machine. ``whom`` and the host name the other
    side in messages, ``cure`` is what to do if that is not trusted; ``limit`` is how many bytes an
    answer may have. With a ``socket_path`` whoever listens there is asked, whatever the host is.
    Connections through a proxy
    (of the environment: HTTPS_PROXY, NO_PROXY; unless ``direct``) are tunnels. A requests session
    would add the machine's REQUESTS_CA_BUNDLE, ~/.netrc and cookies, and twice the processor time.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None,
        *,
        whom: str,
        agent: str,
        permit: Permit | None = None,
        direct: bool = False,
        limit: int = MAX_RESPONSE,
        cure: str = "a private CA's root goes into ca_bundle",
        socket_path: Path | None = None,
        unasked: str = "",
    ) -> None:
        self._context = context
        self._unasked = unasked
        self._cure = cure
        self._whom = whom
        self._permit = permit
        self._headers = {"User-Agent": agent}
        self._connections: dict[str, Any] = {}
        weakref.finalize(self, _close, self._connections)
        self._proxies: dict[str, str | None] = {}
        self._direct = direct or context is None or socket_path is not None
        self._socket_path = socket_path
        self._limit = limit

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: Timeout,
        judged: int | None = None,
        enough: Callable[[bytes], bool] | None = None,
    ) -> Answer:
        """Send one request and read its answer: whole, at most ``limit``, or as Exchange.judge.

        ``judged`` is how much of an error's content that reads, ``enough`` is as of Exchange.read.
        Raises NeedsOperator where there is
        no way to the host, its certificate is not trusted, or the answer is too large; Lost where
        no answer came; and what ``timeout`` does.
        """
        parts = urlsplit(url)
        host = parts.netloc.lower()
        if timeout.limit.passed:
            raise Lost(f"no time is left to ask {self._whom}{host}", sent=False)
        timeout.begin()
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        exchange = Exchange(method, target, host, {**self._headers, **headers}, body)
        # in nobody's hands unless the answer was whole: who knows what else comes on it
        connection = self._connections.pop(host, None)
        if connection is not None and ready(connection, select.POLLIN):
            connection.close()  # the other side did, or says what was not asked
            connection = None
        try:
            connection = connection or self._connected(url, host, timeout)
        except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            raise self._explained(error, host, sent=False) from error
        try:
            timeout.begin()
            answer = self._ask(connection, exchange, host, timeout, judged, enough)
        except BaseException:
            connection.close()
            raise
        self._keep(host, connection, final=answer.final)
        return answer

    def follow(self, url: str, *, headers: Mapping[str, str], timeout: Timeout) -> Answer | Stream:
        """Ask for an answer that goes on: its content as a stream, or the whole answer if refused.

        ``timeout`` is that of the head. Raises as exchange().
        """
        parts = urlsplit(url)
        host = parts.netloc.lower()
        exchange = Exchange(
            "GET", f"{parts.path}?{parts.query}", host, {**self._headers, **headers}, None
        )
        try:
            connection = self._connected(url, host, timeout)
        except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            raise self._explained(error, host, sent=False) from error
        try:
            send(connection, exchange.message, timeout)
            answer = exchange.begin(
                lambda: receive(connection, _CHUNK, timeout, begun=False), limit=self._limit
            )
        except (Malformed, ContentTooLarge, OSError) as error:
            connection.close()
            raise self._explained(error, host, sent=True) from error
        except BaseException:
            connection.close()
            raise
        if answer is None:
            return Stream(connection, exchange)
        connection.close()
        return answer

    def _connected(self, url: str, host: str, timeout: Timeout) -> Any:
        parts = urlsplit(url)
        name, port = str(parts.hostname), parts.port or (443 if self._context else 80)
        if host not in self._proxies:
            found = None if self._direct else select_proxy(url, get_environ_proxies(url))
            self._proxies[host] = found
        proxy = self._proxies[host]
        if proxy is not None and self._context is not None:
            return tunnel(proxy, self._context, name, port, timeout)

        def addresses(of: str) -> list[str]:
            found = look_up(of, port, socket.SOCK_STREAM, deadline=timeout.limit)
            return [str(address[0]) for *_, address in found]

        def permit(found: Iterable[str]) -> None:
            if self._permit is not None:
                self._permit(name, found, addresses)

        if self._socket_path is not None:
            raw = connect_path(self._socket_path, timeout=timeout)
        else:
            raw = connect(name, port, timeout=timeout, permit=permit)
        if self._context is not None:
            return secured(raw, name, self._context, timeout)
        raw.settimeout(SLICE)
        return raw

    def _way(self, host: str) -> str:
        """The host for a message, and the proxy on the way to it without its password."""
        if (proxy := self._proxies.get(host)) is None:
            return host
        return f"{host} (through the proxy {proxy.rpartition('//')[2].rpartition('@')[2]})"

    def _keep(self, host: str, connection: Any, *, final: bool) -> None:
        if final:
            connection.close()
            return
        if len(self._connections) == MAX_KEPT:  # more hosts than one server has names
            self._connections.pop(next(iter(self._connections))).close()
        self._connections[host] = connection

    def _ask(
        self,
        sock: Any,
        exchange: Exchange,
        host: str,
        timeout: Timeout,
        judged: int | None,
        enough: Callable[[bytes], bool] | None,
    ) -> Answer:
        begun = False

        def more() -> bytes:
            nonlocal begun
            data = receive(sock, _CHUNK, timeout, begun=begun)
            begun = bool(data)
            return data

        whom = f"{self._whom}{self._way(host)}"
        if timeout.limit.passed:  # connecting took it all
            raise Lost(f"no time is left to ask {whom}", sent=False)
        try:
            send(sock, exchange.message, timeout)
            if judged is not None:
                return exchange.judge(more, limit=judged)
            return exchange.read(more, limit=self._limit, enough=enough)
        except ContentTooLarge:
            raise NeedsOperator(
                f"{whom} sent more than {self._limit} bytes in one answer"
            ) from None
        except TimeoutError as error:
            if begun:
                raise Lost(f"{whom} did not finish its answer in time", sent=True) from error
            raise self._explained(error, host, sent=True) from error
        except (Malformed, OSError) as error:
            raise self._explained(error, host, sent=True) from error

    def _explained(self, error: Exception, host: str, *, sent: bool) -> Lost | NeedsOperator:
        causes, way = _causes(error), self._way(host)
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return NeedsOperator(
                    f"the certificate of {self._whom}{way} is not trusted: {cause.verify_message}",
                    hint=_CLOCK if cause.verify_code in _DATES else self._cure,
                )
        if isinstance(causes[0], urllib3.exceptions.LocationValueError | UnicodeError):
            return NeedsOperator(
                f"there is no way to {self._whom}{way}: {causes[0]}",
                hint="either it is no host, or the proxy for it (HTTPS_PROXY, NO_PROXY) is none",
            )
        hint = RESOLVER if isinstance(causes[-1], NotLookedUp) else ""
        if not sent and self._unasked and get_environ_proxies(f"https://{host}").get("https"):
            hint = self._unasked
        words = f"{self._whom}{way} did not answer: {_reason(causes)}"
        return Lost(words, sent=sent, hint=hint)


def _close(connections: dict[str, Any]) -> None:
    for each in connections.values():
        each.close()


def _reason(causes: list[BaseException]) -> str:
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its name does not resolve"
    last = causes[-1]
    if isinstance(last, NotLookedUp):
        return str(last)
    if isinstance(last, TimeoutError | urllib3.exceptions.TimeoutError):
        return "timed out"
    return one_line((isinstance(last, OSError) and last.strerror) or str(last))[:200]


def _causes(error: BaseException) -> list[BaseException]:
    """``error`` and what it wraps, outermost first; libraries hide the cause in three places."""
    found = [error]
    while len(found) < 10:
        last = found[-1]
        context = None if last.__suppress_context__ else last.__context__
        inner = [getattr(last, "reason", None), *last.args, last.__cause__, context]
        following = [each for each in inner if isinstance(each, BaseException)]
        if not following or following[0] in found:
            break
        found.append(following[0])
    return found
