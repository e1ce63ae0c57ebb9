"""HTTPS to a CA, and nothing else: to whom it may lead, no redirects, within a request's time."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from certrotd.acme.reach import AllowedUrls
from certrotd.clock import Deadline
from certrotd.errors import NeedsOperator
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer
from certrotd.rotation.stopping import StoppableTimeout

MAX_URL = 4096


class Transport:
    """One thread's connections to a CA; what it shares with others is the TLS context."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        request_timeout: float,
        agent: str,
        reach: AllowedUrls,
        proxy: bool = False,
    ) -> None:
        self._client = HttpsClient(
            context,
            whom="the CA at ",
            agent=agent,
            permit=reach.check_addresses,
            direct=not proxy,
            unasked="a proxy is used with use_proxy of the issuer",
        )
        self._reach = reach
        self._request_timeout = request_timeout

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: str | None,
        headers: Mapping[str, str],
        deadline: Deadline,
    ) -> RequestsResponse:
        """Send one request and read the whole answer, at most 1 MiB.

        Raises NeedsOperator for a URL that is not https or on a host that the CA may not name, a
        redirect, an answer too large and a server certificate that is not trusted; Lost where no
        answer came; Stopped where the process has been told to stop, or a few seconds after.
        """
        host = check_url(url)
        self._reach.check(url)
        answer = self._client.exchange(
            method,
            url,
            body=None if body is None else body.encode(),
            headers=headers,
            timeout=StoppableTimeout(deadline.within(self._request_timeout)),
        )
        return _response(url, answer, host)


class RequestsResponse(requests.Response):
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
            hint="write the https URL; if the CA itself names this one, do not trust it",
        )
    return urlsplit(url).netloc.lower()


def _flaw(url: str) -> str:
    """What is wrong with a URL to send requests to; "" if nothing is."""
    if not (url.isascii() and url.isprintable() and " " not in url):
        return "it has a character that no URL may have"
    if len(url) >= MAX_URL:
        return f"it is longer than {MAX_URL:,} characters"
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "it is not a URL"
    if parts.scheme != "https":
        return "ACME needs https"
    if "@" in parts.netloc:
        return "it has a user name or a password in it"
    return "" if whole else "it has no host, or no usable port"


def _response(url: str, answer: Answer, host: str) -> RequestsResponse:
    response = RequestsResponse(url, answer.status, answer.headers, answer.content)
    if 300 <= answer.status < 400:
        target = response.headers.get("Location", "nowhere")
        raise NeedsOperator(
            f"the CA at {host} redirects {url} to {target}, which is not followed",
            hint="configure the URL of the directory itself",
        )
    return response


def location_of(response: requests.Response, what: str) -> str:
    """The URL of what the CA created, from the Location header; raises NeedsOperator.

    It may be relative (RFC 9110 §10.2.2).
    """
    said: str = response.headers.get("Location", "")
    if not said:
        host = check_url(response.url)
        raise NeedsOperator(f"the CA at {host} made an {what} and gave no URL for it")
    url = joined(response.url, said)
    check_url(url)
    return url


def joined(base: str, url: str) -> str:
    """``url`` as it is meant on the page ``base``; as it is where it makes no sense."""
    try:
        return urljoin(base, url)
    except ValueError:
        return url
