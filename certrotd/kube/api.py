"""Requests to a Kubernetes API server, in JSON, with its answers told apart.

Made by our own HTTPS client: the official one takes 35 MiB and most of a second to load, for models
of which nothing here is used.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from certrotd.clock import Clock, Deadline
from certrotd.dial import Timeout
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.https.client import HttpsClient, Lost
from certrotd.https.http1 import Answer
from certrotd.https.stream import Stream
from certrotd.https.waits import asked_wait, http_date
from certrotd.jsontext import parsed
from certrotd.kube.access import UNTRUSTED, Access
from certrotd.kube.patience import Patience
from certrotd.kube.recent import Recent
from certrotd.state.ports import Conflict, TooLarge

Object = dict[str, Any]
"""An object of the API, as JSON."""

MAX_ANSWER = 16 * 1024 * 1024
PAGE = 500
"""So many objects at most in one answer to a list."""
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_LONGEST = timedelta(minutes=5)
_ROLE = "its Role lacks that, see: kubectl auth can-i --list"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDED = timedelta(seconds=2)


class Missing(Failure):
    """There is no such object."""


class Expired(Transient):
    """What happened since then is not known any more: all is to be listed anew."""


class Unsure(Transient):
    """The server, or what is in front of it, gave an answer that does not say what was done.

    A store behind it that was too slow may have carried the request out.
    """


class Invalid(NeedsOperator):
    """The object may not be so, or may not become so."""


class Denied(NeedsOperator):
    """The account may not do that."""


@dataclass(frozen=True)
class Kind:
    """Where objects of one kind are, such as Secrets in ``api/v1``, ``secrets``."""

    group: str
    plural: str

    def path(self, namespace: str, name: str | None = None) -> str:
        """The path of one object, or of all in a namespace."""
        of = f"/{self.group}/namespaces/{quote(namespace, safe='')}/{self.plural}"
        return of if name is None else f"{of}/{quote(name, safe='')}"


@dataclass(frozen=True)
class Selection:
    """Some of the objects in the collection of that path: by label and field selectors.

    Of ``metadata`` only what all objects have is read.
    """

    path: str
    labels: str = ""
    fields: str = ""
    metadata: bool = False

    @property
    def query(self) -> dict[str, str]:
        """As a request has it."""
        return {"labelSelector": self.labels} | (
            {"fieldSelector": self.fields} if self.fields else {}
        )


SECRETS = Kind("api/v1", "secrets")
CONFIG_MAPS = Kind("api/v1", "configmaps")
LEASES = Kind("apis/coordination.k8s.io/v1", "leases")


class Api:
    """One API server for all threads of a process; each has connections of its own.

    ``timeout`` is how many seconds one request may take. ``lasting`` is shared by those that come
    one after the other in a process, ``patience`` by all of it.
    """

    def __init__(
        self,
        access: Access,
        clock: Clock,
        *,
        agent: str,
        timeout: float = 10.0,
        lasting: set[object] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.access = access
        self.clock = clock
        self.agent = agent
        self.patience = patience or Patience()
        self._timeout = timeout
        self._local = threading.local()
        self.had: dict[object, float] = {}
        """Which rights the account had, and when (monotonic)."""
        self.lasting: set[object] = set() if lasting is None else lasting
        """Which it has had since it was last refused anything, of those that seldom change."""
        self.rules: dict[str, tuple[Sequence[Any], float]] = {}
        """What its Roles were in each namespace, and when."""
        self.recent = Recent(clock)
        """What was read a moment ago, by path."""
        self._ahead: timedelta | None = None  # the server's clock, of this process's monotonic one

    def get(self, path: str, *, metadata: bool = False) -> Object:
        """An object, or of it what all have; raises Missing, and as ask()."""
        return self.ask("GET", path, accept=METADATA if metadata else None)

    def find(self, selection: Selection) -> Iterator[Object]:
        """The objects that it selects, in pages; raises as ask()."""
        for page in self._pages(selection):
            yield from page.get("items") or ()

    def list_of(self, selection: Selection) -> tuple[list[Object], str]:
        """The same, and the resourceVersion of the list."""
        items: list[Object] = []
        for page in self._pages(selection):
            items += page.get("items") or ()
        return items, revision_of(page)

    def _pages(self, selection: Selection) -> Iterator[Object]:
        query = {**selection.query, "limit": str(PAGE)}
        accept = METADATA_LIST if selection.metadata else None
        while True:
            found = self.ask("GET", selection.path, query=query, accept=accept)
            yield found
            following = (found.get("metadata") or {}).get("continue")
            if not following:
                return
            query["continue"] = following

    def watch(self, selection: Selection, *, since: str, seconds: int) -> Stream:
        """What happens to the objects that it selects ``since`` a resourceVersion.

        Lines of JSON, for so many ``seconds``. Raises as ask(), and Expired.
        """
        query = {**selection.query, "watch": "1", "resourceVersion": since}
        query |= {"timeoutSeconds": str(seconds), "allowWatchBookmarks": "true"}
        found = self._client().follow(
            f"{self.access.server}{selection.path}?{urlencode(query)}",
            headers=self._headers(METADATA if selection.metadata else "application/json"),
            timeout=Timeout(Deadline(self.clock, self._timeout)),
        )
        if isinstance(found, Stream):
            return found
        if found.status == 410:
            raise Expired("that is too long ago")
        raise self._refused("GET", selection.path, found, _read(found))

    def create(self, path: str, content: Object) -> Object:
        """Make an object in the collection of that path; raises Conflict if it is there."""
        return self.ask("POST", path, content)

    def replace(self, path: str, content: Object) -> Object:
        """Replace an object; raises Conflict unless it is as its resourceVersion says."""
        return self.ask("PUT", path, content)

    def merge(self, path: str, change: Object) -> Object:
        """Change an object by a JSON merge patch (RFC 7396)."""
        return self.ask("PATCH", path, change, kind="application/merge-patch+json")

    def patch(self, path: str, changes: list[Object]) -> Object:
        """Change an object by a JSON patch (RFC 6902); raises NeedsOperator if a test fails."""
        return self.ask("PATCH", path, changes, kind="application/json-patch+json")

    def apply(
        self, path: str, content: Object, *, manager: str, force: bool, dry: bool = False
    ) -> Object:
        """Server-side apply: the fields of ``content`` become ``manager``'s, others stay.

        Without ``force`` Conflict if one of them is another's and differs. A ``dry`` one changes
        nothing.
        """
        query = {"fieldManager": manager, "force": str(force).lower()}
        if dry:
            query["dryRun"] = "All"
        return self.ask("PATCH", path, content, kind="application/apply-patch+yaml", query=query)

    def delete(self, path: str, *, revision: str | None = None) -> None:
        """Delete an object, if it is of that resourceVersion; raises Missing and Conflict."""
        given = {"preconditions": {"resourceVersion": revision}} if revision else None
        self.ask("DELETE", path, given)

    def now(self) -> datetime:
        """The time by the API server's clock, which all of its clients share; asked if need be."""
        if self._ahead is None:
            self.ask("GET", "/version")
        since = timedelta(seconds=self.clock.monotonic())
        return self.clock.now() if self._ahead is None else _EPOCH + self._ahead + since

    def ask(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        kind: str = "application/json",
        query: Mapping[str, str] | None = None,
        accept: str | None = None,
    ) -> Object:
        """What the server answers.

        Raises Missing, Conflict, TooLarge, Denied, NeedsOperator, and Transient: of those Lost says
        whether the request may have been carried out nevertheless.
        """
        headers = self._headers(accept or "application/json")
        if content is not None:
            headers["Content-Type"] = kind
        target = f"{path}?{urlencode(query)}" if query else path
        body = None if content is None else json.dumps(content).encode()
        answer = self._answer(method, target, body, headers)
        self._set_clock(answer)
        found = _read(answer)
        if answer.status >= 300:
            raise self._refused(method, path, answer, found)
        return found

    def _answer(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """What comes back; raises Transient, at once where nobody has patience any more."""
        begun, patience = self.clock.monotonic(), self.patience
        if not patience.left:
            raise Transient(
                f"the API server {self.access.server} does not answer "
                f"(waited for {patience.limit:g} s)"
            )
        try:
            return self._client().exchange(
                method,
                f"{self.access.server}{target}",
                body=body,
                headers=headers,
                timeout=Timeout(Deadline(self.clock, min(self._timeout, patience.left))),
            )
        except Transient:
            patience.spend(self.clock.monotonic() - begun)
            raise

    def _refused(self, method: str, path: str, answer: Answer, found: Object) -> Failure:
        """As refused(); what it had no right to, it may have had a while ago."""
        failure = refused(method, path, answer, found, now=self.clock.now())
        if isinstance(failure, Denied):
            self.had.clear()
            self.rules.clear()
            self.lasting.clear()
        return failure

    def _headers(self, accept: str) -> dict[str, str]:
        token = self.access.token
        own = {} if token is None else {"Authorization": f"Bearer {token()}"}
        return {"Accept": accept, **own}

    def _client(self) -> HttpsClient:
        if not hasattr(self._local, "client"):
            self._local.client = HttpsClient(
                self.access.context,
                whom="the API server ",
                agent=self.agent,
                direct=True,
                limit=MAX_ANSWER,
                cure=UNTRUSTED,
            )
        client: HttpsClient = self._local.client
        return client

    def _set_clock(self, answer: Answer) -> None:
        at = http_date(answer.headers.get("date"))
        if at is None:
            return
        told = at - _EPOCH - timedelta(seconds=self.clock.monotonic())
        # whole seconds are told, rounded down: what is furthest ahead is nearest to the truth,
        # unless the server's clock was put back
        if self._ahead is None or not timedelta(0) <= self._ahead - told <= _ROUNDED:
            self._ahead = told


def revision_of(found: Object) -> str:
    """The resourceVersion of an object, or of a list."""
    return str((found.get("metadata") or {}).get("resourceVersion") or "")


def _read(answer: Answer) -> Object:
    try:
        found = parsed(answer.content)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    if answer.status >= 300:
        return {}
    raise Unsure("the API server's answer is no object", hint="a proxy may have given it")


def refused(method: str, path: str, answer: Answer, found: Object, *, now: datetime) -> Failure:
    """The failure that an answer with such a status is; ``found`` is the object in it."""
    status, said = answer.status, str(found.get("message") or answer.status)
    whom = f"the API server refuses {method} {path}: {said}"
    if status == 404:
        return Missing(f"there is no {path}: {said}")
    if status == 409:
        return Conflict(whom)
    if status == 410:
        return Expired(whom)
    if status == 413:
        return TooLarge(whom)
    if status == 401:
        return Transient(
            f"the API server does not know this account: {said}",
            hint="its token has expired or was revoked; a pod's is renewed by the kubelet",
        )
    if status == 403:
        # a quota, a webhook, or a namespace that is being deleted refuse what its Roles allow
        return Denied(whom, hint=_ROLE if " cannot " in said else "")
    if status == 422:
        return Invalid(whom)
    if status == 429 or status >= 500:
        wait = asked_wait(answer.headers.get("retry-after"), now=now, longest=_LONGEST)
        kind = Transient if status == 429 else Unsure
        return kind(f"the API server is busy or not ready: {said}", retry_after=wait)
    return NeedsOperator(whom)


def was_sent(failure: Failure) -> bool:
    """Whether a request that failed so may have been carried out: nobody knows then."""
    return isinstance(failure, Unsure) or (isinstance(failure, Lost) and failure.sent)
