"""HTTPS to a CA, and nothing else: pinned trust, no redirects, bounded answers."""

from __future__ import annotations

import contextlib
import io
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util import make_headers

from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator, Transient, one_line

MAX_RESPONSE = 1024 * 1024
MAX_URL = 4096
_CHUNK = 64 * 1024


class Lost(Transient):
    """No answer came; ``sent`` says whether the CA may have received the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Transport:
    """One thread's keep-alive connection to a CA; what it shares with others is the TLS context.

    Goes to urllib3 directly: a requests session would add the machine's REQUESTS_CA_BUNDLE,
    ~/.netrc, cookies, and as much processor time again. Proxies come from the environment
    (HTTPS_PROXY, NO_PROXY).
    """

    def __init__(self, context: ssl.SSLContext, *, request_timeout: float, agent: str) -> None:
        self._context = context
        self._request_timeout = request_timeout
        self._headers = {"User-Agent": agent}
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._proxies: dict[str, str | None] = {}

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: str | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> requests.Response:
        """Send one request and read the whole answer, at most 1 MiB.

        Raises NeedsOperator for a URL that is not https, a redirect, an answer too large and a
        server certificate that is not trusted; Lost where no answer came.
        """
        host = check_url(url)
        if deadline.passed:
            raise Lost(f"no time is left to ask the CA at {host}", sent=False)
        limit = deadline.within(self._request_timeout)
        try:
            answer = self._manager(url, host).urlopen(
                method,
                url,
                body=body.encode() if body is not None else None,
                headers={**self._headers, **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                # a total, so that connecting and waiting do not each take all of it
                timeout=urllib3.Timeout(total=limit.remaining),
            )
            with contextlib.closing(answer):
                content = _read(answer, limit, host)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _explained(error, host) from error
        return _response(url, answer, content, host)

    def _manager(self, url: str, host: str) -> urllib3.PoolManager:
        if host not in self._proxies:
            self._proxies[host] = select_proxy(url, get_environ_proxies(url))
        proxy = self._proxies[host]
        if proxy not in self._managers:
            self._managers[proxy] = _manager(proxy, self._context)
        return self._managers[proxy]


def check_url(url: str) -> str:
    """The host and port of an https URL; NeedsOperator for any other (RFC 8555 §6.1)."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) < MAX_URL
    if not usable or not plain or "@" in parts.netloc:
        raise NeedsOperator(
            f"{url[:200]!r} is refused: ACME is spoken over https only",
            hint="write the https URL; where the CA itself names this one, do not trust it",
        )
    return parts.netloc.lower()


def trust(ca_bundle: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts ``ca_bundle`` (a PEM file) alone, else the machine's roots.

    Where the machine has none (a minimal container), certifi's. Raises NeedsOperator.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_bundle is None:
        _trust_the_machine(context)
        return context
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except ssl.SSLError:
        raise NeedsOperator(
            f"ca_bundle {ca_bundle} holds no certificate in PEM",
            hint="it is the root the CA's own web server is signed by",
        ) from None
    except OSError as error:
        raise NeedsOperator(f"ca_bundle {ca_bundle} cannot be read: {error.strerror}") from None
    return context


def _trust_the_machine(context: ssl.SSLContext) -> None:
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_default_certs()
        return
    import certifi  # a dependency of requests

    context.load_verify_locations(cafile=certifi.where())


class _OneWrite(HTTPSConnection):
    """Sends a request's head and body together: one TLS record and one system call, not two."""

    _held: list[bytes] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        held = self._held = []
        try:
            super().request(*args, **kwargs)
        finally:
            self._held = None
        self.send(b"".join(held))

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _OneWrite


def _manager(proxy: str | None, context: ssl.SSLContext) -> urllib3.PoolManager:
    manager: urllib3.PoolManager
    if proxy is None:
        manager = urllib3.PoolManager(num_pools=4, maxsize=1, ssl_context=context)
    else:
        address = proxy if "://" in proxy else f"http://{proxy}"
        user, password = get_auth_from_url(address)
        login = make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
        manager = urllib3.ProxyManager(
            address, num_pools=4, maxsize=1, proxy_headers=login, ssl_context=context
        )
    manager.pool_classes_by_scheme = {"https": _Pool}
    return manager


def _read(answer: urllib3.BaseHTTPResponse, deadline: Deadline, host: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    # read1 returns what has come: a server that sends a byte now and then cannot hold us longer
    # than the deadline
    while chunk := answer.read1(_CHUNK, decode_content=True):
        size += len(chunk)
        if size > MAX_RESPONSE:
            raise NeedsOperator(
                f"the CA at {host} sent more than {MAX_RESPONSE} bytes in one answer"
            )
        if deadline.passed:
            raise Lost(f"the CA at {host} did not finish its answer in time", sent=True)
        chunks.append(chunk)
    return b"".join(chunks)


def _response(
    url: str, answer: urllib3.BaseHTTPResponse, content: bytes, host: str
) -> requests.Response:
    response = requests.Response()
    response.url = url
    response.status_code = answer.status
    response.reason = answer.reason or ""
    response.headers = CaseInsensitiveDict(answer.headers)
    response.raw = io.BytesIO(content)
    if 300 <= answer.status < 400:
        target = response.headers.get("Location", "nowhere")
        raise NeedsOperator(
            f"the CA at {host} redirects {url} to {target}, which is not followed",
            hint="configure the address the directory itself names",
        )
    return response


def _explained(error: Exception, host: str) -> Lost | NeedsOperator:
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NeedsOperator(
                f"the certificate of {host} is not trusted: {cause.verify_message}",
                hint="a private CA's root goes into ca_bundle",
            )
    if isinstance(causes[0], urllib3.exceptions.LocationValueError):
        return NeedsOperator(
            f"there is no way to {host}: {causes[0]}",
            hint="either it is no host, or the proxy for it (HTTPS_PROXY, NO_PROXY) is none",
        )
    unsent = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    sent = not any(isinstance(cause, unsent) for cause in causes)
    return Lost(f"the CA at {host} did not answer: {_reason(causes)}", sent=sent)


def _reason(causes: list[BaseException]) -> str:
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return "its name does not resolve"
    last = causes[-1]
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
