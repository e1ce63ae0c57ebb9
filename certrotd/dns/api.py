"""Requests to the HTTP API of a DNS provider: bounded answers, and what its refusals mean.

Nothing of the environment counts but, where the configuration asks for it, the proxy: no ~/.netrc,
no other roots. Redirects are not followed: the credentials are meant for one host.
"""

from __future__ import annotations

import functools
import json
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import certrotd
from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import ApiEntry
from certrotd.config.secrets import Reference
from certrotd.dns.names import within
from certrotd.dns.records import Unpublished
from certrotd.errors import Failure, NeedsOperator, Transient, one_line
from certrotd.https.client import HttpsClient
from certrotd.https.http1 import Answer
from certrotd.https.waits import asked_wait
from certrotd.jsontext import parsed
from certrotd.pki.roots import trust
from certrotd.rotation.stopping import StoppableTimeout

MAX_ANSWER = 4 * 1024 * 1024
MAX_SHOWN = 300
_AGAIN = frozenset({408, 425, 429})
UNREADABLE = object()
"""Instead of the JSON of an answer that is none; taking anything from it is a TypeError."""
T = TypeVar("T")


@dataclass(frozen=True)
class Reach:
    """How a provider is reached: ``timeout`` is that of one request, in seconds.

    ``ca_bundle`` None: the machine's roots. ``proxy``: by that of the environment.
    """

    what: str
    ca_bundle: Path | None = None
    proxy: bool = False
    timeout: float = 30.0

    @classmethod
    def of(cls, entry: ApiEntry, what: str) -> Reach:
        """That of a configuration entry."""
        return cls(what, entry.ca_bundle, entry.use_proxy, entry.timeout.total_seconds())


class Requests:
    """Sends requests, each within its share of a deadline; the connections are the thread's."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._own = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        deadline: Deadline,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Answer:
        """One answer, whatever its status; raises as HttpsClient.exchange, and Stopped."""
        return self._client(urlsplit(url).scheme).exchange(
            method,
            url,
            body=body,
            headers=headers,
            timeout=StoppableTimeout(deadline.within(self._reach.timeout)),
        )

    def _client(self, scheme: str) -> HttpsClient:
        clients: dict[str, HttpsClient] | None = getattr(self._own, "clients", None)
        if clients is None:
            clients = self._own.clients = {}
        if scheme not in clients:
            clients[scheme] = HttpsClient(
                self._context if scheme == "https" else None,
                whom=f"{self._reach.what} at ",
                agent=f"certrotd/{certrotd.__version__}",
                direct=not self._reach.proxy,
                limit=MAX_ANSWER,
            )
        return clients[scheme]

    @functools.cached_property
    def _context(self) -> ssl.SSLContext:
        return trust(self._reach.ca_bundle, what=f"{self._reach.what}: ca_bundle")


class JsonApi:
    """The JSON API at ``url``; ``credentials`` gives the headers that carry them, at each request.

    ``needs`` says, in a hint, what the credentials have to be good for. ``reason`` finds the words
    of a refusal in its JSON; where it finds none, the beginning of the text is shown. ``denied``
    says whether that JSON is about the credentials, whatever its status.
    """

    def __init__(
        self,
        reach: Reach,
        url: str,
        *,
        credentials: Callable[[], Mapping[str, str]],
        needs: str,
        reason: Callable[[Any], object],
        denied: Callable[[Any], bool] = lambda _content: False,
    ) -> None:
        self._what = reach.what
        self._requests = Requests(reach)
        self._url = url.rstrip("/")
        self._credentials = credentials
        self._needs = needs
        self._reason = reason
        self._denied = denied

    def ask(
        self,
        method: str,
        path: str,
        given: object = None,
        *,
        deadline: Deadline,
        take: Callable[[Any], T],
        means: Callable[[int, Any], T | None] = lambda _status, _content: None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """What ``take`` finds in the JSON of a success; None where that has no content.

        ``means`` is what a refusal with that status and JSON comes to, None for what it seems.
        ``headers`` are instead of the credentials. Raises Unpublished for a refusal, Transient
        for what is busy or no answer of an API, else as Requests.send.
        """
        credentials = self._credentials() if headers is None else headers
        answer = self._requests.send(
            method,
            f"{self._url}{path}",
            deadline=deadline,
            headers={"Accept": "application/json", "Content-Type": "application/json"}
            | dict(credentials),
            body=None if given is None else json.dumps(given).encode(),
        )
        content = _json(answer.content)
        if 200 <= answer.status < 300:
            return read(self._what, lambda: take(content))
        found = None if content is UNREADABLE else means(answer.status, content)
        if found is not None:
            return found
        said = self._said(answer, content, credentials)
        denied = content is not UNREADABLE and self._denied(content)
        now = deadline.clock.now()
        raise judged(self._what, answer, said, self._needs, denied=denied, now=now)

    def _said(self, answer: Answer, content: object, credentials: Mapping[str, str]) -> str:
        said: object = None
        if content is not UNREADABLE:
            try:
                said = self._reason(content)
            except (KeyError, TypeError, IndexError, AttributeError):
                said = None
        text = said if isinstance(said, str) and said else _text(answer)
        for secret in filter(None, _secrets(credentials)):  # some say back what they were told
            text = text.replace(secret, "***")
        return one_line(text[:MAX_SHOWN])[:MAX_SHOWN]


def judged(
    what: str, answer: Answer, said: str, needs: str, *, denied: bool = False, now: datetime
) -> Failure:
    """What an answer that is no success means, ``said`` in the provider's own words.

    ``denied``: it refuses the credentials, whatever its status.
    """
    status = answer.status
    words = f"{what} answered {status}{said and f': {said}'}"
    if denied or status in (401, 403):
        return Unpublished(f"{what} refuses the credentials: {said or status}", hint=needs)
    if status in _AGAIN or status >= 500:
        wait = asked_wait(answer.headers.get("retry-after"), now=now)
        return Transient(words, retry_after=wait)
    if status < 400:
        return Unpublished(
            f"{what} redirects (HTTP {status}), which is not followed", hint="correct its URL"
        )
    return Unpublished(words, hint="check its settings in the configuration")


def read(what: str, take: Callable[[], T]) -> T:
    """What ``take`` finds in an answer; Transient if that is not what the provider answers."""
    try:
        return take()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise unreadable(what) from None


def nothing(content: object) -> None:
    """For JsonApi.ask, where what a success says does not matter, but that it is the API's."""
    if content is UNREADABLE:
        raise ValueError("no JSON")


def unreadable(what: str) -> Transient:
    """A proxy or a page for people that answers in a provider's place; it may pass."""
    return Transient(
        f"{what} gave an answer that cannot be read",
        hint="check its URL, and whether a proxy or a login page answers in its place",
    )


def word(secret: Reference, what: str) -> str:
    """A secret that goes into a header: one word in ASCII, else NeedsOperator."""
    try:
        text = secret.resolve().reveal().decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or " " in text:
        # raised outside of the except: the cause's traceback must not carry the secret along
        raise NeedsOperator(f"{what} is not one word in ASCII", hint="check what the secret holds")
    return text


def zone_chosen(zone: str | None, context: SolverContext) -> Callable[[str, Deadline], str]:
    """The zone that holds a name: the configured one, or else by the SOA of the name."""

    def configured(name: str, _deadline: Deadline) -> str:
        assert zone is not None, "else the other one is chosen"
        check_within(name, zone, f"solver {context.name}")
        return zone

    return configured if zone is not None else context.zone_of


def check_within(name: str, zone: str, whose: str) -> None:
    """Unpublished if ``name`` is not in the one zone that is configured."""
    if not within(name, zone):
        raise Unpublished(
            f"{name} is not in the zone {zone} of {whose}",
            hint="configure a DNS solver for that name's zone",
        )


def no_zone(what: str, zone: str, hint: str) -> Unpublished:
    """The provider does not have the zone that holds the name."""
    return Unpublished(f"{what} has no zone {zone}", hint=hint)


def _secrets(credentials: Mapping[str, str]) -> Iterator[str]:
    """What of the headers may not be shown: tokens, and the password of a basic authentication."""
    for value in credentials.values():
        scheme, _, token = value.rpartition(" ")
        yield token
        if scheme == "Basic":
            yield b64decode(token).decode("utf-8", "replace").partition(":")[2]


def _json(content: bytes) -> object:
    if not content.strip():
        return None
    try:
        return parsed(content)
    except ValueError:
        return UNREADABLE


def _text(answer: Answer) -> str:
    if "html" in answer.headers.get("content-type", "").lower():
        return "a page for people (HTML)"
    return answer.content.decode("utf-8", "replace").strip()
