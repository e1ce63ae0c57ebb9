"""HTTPS to a CA, and nothing else: pinned trust, no redirects, bounded answers."""

from __future__ import annotations

import socket
import ssl
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
from urllib3.connection import HTTPSConnection
from urllib3.util import make_headers
from urllib3.util.wait import wait_for_read

from certrotd.acme.connect import SLICE, Patience, connect, receive, send
from certrotd.acme.http1 import Answer, Exchange, Malformed, TooLarge
from certrotd.acme.reach import Reach
from certrotd.clock import Deadline
from certrotd.dial import NotLookedUp, look_up
from certrotd.errors import NeedsOperator, Transient, one_line
from certrotd.pki.roots import load_roots

MAX_RESPONSE = 1024 * 1024
MAX_URL = 4096
MAX_KEPT = 4
_CHUNK = 64 * 1024


class Lost(Transient):
    """No answer came; ``sent`` says whether the CA may have received the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Transport:
    """One thread's keep-alive connections to a CA; what it shares with others is the TLS context.

    Those through a proxy (from the environment: HTTPS_PROXY, NO_PROXY) are made by urllib3; what
    goes over them is our own: a requests session would add the machine's REQUESTS_CA_BUNDLE,
    ~/.netrc and cookies, and twice the processor time.
    """

    def __init__(
        self, context: ssl.SSLContext, *, request_timeout: float, agent: str, reach: Reach
    ) -> None:
        self._context = context
        self._reach = reach
        self._request_timeout = request_timeout
        self._headers = {"User-Agent": agent}
        self._connections: dict[str, Any] = {}
        weakref.finalize(self, _close, self._connections)
        self._proxies: dict[str, str | None] = {}

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: str | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> Response:
        """Send one request and read the whole answer, at most 1 MiB.

        Raises NeedsOperator for a URL that is not https or on a host that the CA may not name, a
        redirect, an answer too large and a server certificate that is not trusted; Lost where no
        answer came; Stopped where the process has been told to stop, or a few seconds after.
        """
        host = check_url(url)
        self._reach.check(url)
        if deadline.passed:
            raise Lost(f"no time is left to ask the CA at {host}", sent=False)
        patience = Patience(deadline.within(self._request_timeout))
        patience.begin()
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        exchange = Exchange(method, target, host, {**self._headers, **headers}, body)
        # in nobody's hands unless the answer was whole: who knows what else comes on it
        connection = self._connections.pop(host, None)
        if connection is not None and wait_for_read(connection, timeout=0.0):
            connection.close()  # the other side did, or says what was not asked
            connection = None
        try:
            connection = connection or self._connected(url, host, patience)
        except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            raise _explained(error, self._way(host), sent=False) from error
        try:
            patience.begin()
            answer = _ask(connection, exchange, self._way(host), patience)
        except BaseException:
            connection.close()
            raise
        self._keep(host, connection, final=answer.final)
        return _response(url, answer, host)

    def _connected(self, url: str, host: str, patience: Patience) -> Any:
        if host not in self._proxies:
            self._proxies[host] = select_proxy(url, get_environ_proxies(url))
        parts = urlsplit(url)
        name, port, proxy = str(parts.hostname), parts.port or 443, self._proxies[host]
        if proxy is not None:
            return _tunnel(proxy, self._context, name, port, patience.limit.remaining)

        def addresses(of: str) -> list[str]:
            found = look_up(of, port, socket.SOCK_STREAM, deadline=patience.limit)
            return [str(address[0]) for *_, address in found]

        def permit(found: Sequence[str]) -> None:
            self._reach.check_addresses(name, found, addresses)

        return connect(name, port, self._context, patience=patience, permit=permit)

    def _way(self, host: str) -> str:
        """The host for a message, and the proxy on the way to it without its password."""
        if (proxy := self._proxies.get(host)) is None:
            return host
        return f"{host} (through the proxy {proxy.rpartition('//')[2].rpartition('@')[2]})"

    def _keep(self, host: str, connection: Any, *, final: bool) -> None:
        if final:
            connection.close()
            return
        if len(self._connections) == MAX_KEPT:  # as many as no CA has hosts
            self._connections.pop(next(iter(self._connections))).close()
        self._connections[host] = connection


class Response(requests.Response):
    """What the acme library calls an answer, without the cookie jar and the raw stream."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.url = url
        self.encoding = "utf-8"
        self.status_code = status
        self.headers = CaseInsensitiveDict(headers)
        self._content = content

    @property
    def ok(self) -> bool:
        """Whether the CA did as it was asked."""
        return self.status_code < 400


def check_url(url: str) -> str:
    """The host and port of an https URL; NeedsOperator for any other (RFC 8555 §6.1)."""
    if flaw := _flaw(url):
        raise NeedsOperator(
            f"{url[:200]!r} is refused: {flaw}",
            hint="write the https URL; where the CA itself names this one, do not trust it",
        )
    return urlsplit(url).netloc.lower()


def _flaw(url: str) -> str:
    """What is wrong with a URL to send requests to; "" if nothing is."""
    if not (url.isascii() and url.isprintable() and " " not in url):
        return "it holds a character that no URL may have"
    if len(url) >= MAX_URL:
        return f"it is longer than {MAX_URL:,} characters"
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "it is not a URL"
    if parts.scheme != "https":
        return "ACME is spoken over https only"
    if "@" in parts.netloc:
        return "it has a user name or a password in it"
    return "" if whole else "it has no host, or no usable port"


def trust(ca_bundle: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts ``ca_bundle`` (a PEM file) alone, else the machine's roots.

    Where the machine has none (a minimal container), certifi's. Raises NeedsOperator.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python before 3.11.4 has OpenSSL 3 take a connection that was cut for one that was closed
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if ca_bundle is None:
        _trust_the_machine(context)
        return context
    signer = "it is the root the CA's own web server is signed by"
    load_roots(context, ca_bundle, what="ca_bundle", hint=signer)
    return context


def _trust_the_machine(context: ssl.SSLContext) -> None:
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_default_certs()
        return
    import certifi  # a dependency of requests

    context.load_verify_locations(cafile=certifi.where())


def _close(connections: dict[str, Any]) -> None:
    for each in connections.values():
        each.close()


def _tunnel(proxy: str, context: ssl.SSLContext, host: str, port: int, timeout: float) -> Any:
    """TLS with the host through a proxy, as urllib3 makes it."""
    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        user, password = get_auth_from_url(address)
        login = make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
        manager = urllib3.ProxyManager(address)
    except urllib3.exceptions.ProxySchemeUnknown:
        raise
    except ValueError:  # its words may have the password in them
        raise NeedsOperator(
            f"there is no way to {host}: its proxy cannot be read",
            hint="HTTPS_PROXY is a URL such as http://user:password@proxy.example:3128",
        ) from None
    found = manager.proxy
    assert found is not None
    connection = HTTPSConnection(
        str(found.host),
        found.port,
        ssl_context=context,
        timeout=timeout,
        proxy=found,
        proxy_config=manager.proxy_config,
    )
    connection.set_tunnel(host, port, headers=login, scheme=str(found.scheme))
    try:
        connection.connect()
        sock: Any = connection.sock
        sock.settimeout(SLICE)
        sock.suppress_ragged_eofs = False  # as for any other, see connect()
    except BaseException:
        connection.close()
        raise
    return sock


def _ask(sock: Any, exchange: Exchange, host: str, patience: Patience) -> Answer:
    begun = False

    def more() -> bytes:
        nonlocal begun
        data = receive(sock, _CHUNK, patience, begun=begun)
        begun = bool(data)
        return data

    if patience.limit.passed:  # connecting took it all
        raise Lost(f"no time is left to ask the CA at {host}", sent=False)
    try:
        send(sock, exchange.message, patience)
        return exchange.read(more, limit=MAX_RESPONSE)
    except TooLarge:
        raise NeedsOperator(
            f"the CA at {host} sent more than {MAX_RESPONSE} bytes in one answer"
        ) from None
    except TimeoutError as error:
        if begun:
            raise Lost(f"the CA at {host} did not finish its answer in time", sent=True) from error
        raise _explained(error, host, sent=True) from error
    except (Malformed, OSError) as error:
        raise _explained(error, host, sent=True) from error


def _response(url: str, answer: Answer, host: str) -> Response:
    response = Response(url, answer.status, answer.headers, answer.content)
    if 300 <= answer.status < 400:
        target = response.headers.get("Location", "nowhere")
        raise NeedsOperator(
            f"the CA at {host} redirects {url} to {target}, which is not followed",
            hint="configure the address the directory itself names",
        )
    return response


def _explained(error: Exception, host: str, *, sent: bool) -> Lost | NeedsOperator:
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NeedsOperator(
                f"the certificate of {host} is not trusted: {cause.verify_message}",
                hint="a private CA's root goes into ca_bundle",
            )
    if isinstance(causes[0], urllib3.exceptions.LocationValueError | UnicodeError):
        return NeedsOperator(
            f"there is no way to {host}: {causes[0]}",
            hint="either it is no host, or the proxy for it (HTTPS_PROXY, NO_PROXY) is none",
        )
    return Lost(f"the CA at {host} did not answer: {_reason(causes)}", sent=sent)


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
        inner = [getattr(last, "reason", None), *last.args, last.__cause__, last.__context__]
        following = [each for each in inner if isinstance(each, BaseException)]
        if not following or following[0] in found:
            break
        found.append(following[0])
    return found
