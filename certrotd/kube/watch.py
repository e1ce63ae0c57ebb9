"""What objects there are, as a watch of the API server tells it.

A watch ends silently: the server ends it after a minute, a router may forget the connection, and
what is older than a few minutes is not told any more (410). So it has an end of its own, and after
that, or where it cannot go on, all is listed anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from certrotd.errors import Failure, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.https.http1 import Malformed
from certrotd.https.stream import Stream
from certrotd.jsontext import parsed
from certrotd.kube.api import Api, Expired, Object, Selection, revision_of
from certrotd.kube.objects import Objects

LASTS = 60
"""So many seconds the server goes on with one watch."""
LATE = 10.0
"""So many seconds later it is hanging."""
MAX_LINE = 2 * 1024 * 1024
_TRIES = 3


@dataclass(frozen=True)
class Topic:
    """What is watched: a ``selection``, of which ``name_of`` tells objects apart.

    What has no name by that is passed over.
    """

    api: Api
    selection: Selection
    name_of: Callable[[Object], str]
    lasts: int = LASTS


class Following:
    """The objects of a topic as they are, by one list and a watch, read without a wait.

    ``known`` are those that there were at the resourceVersion ``since``: then nothing is listed.
    """

    def __init__(
        self, topic: Topic, known: Mapping[str, Object] | None = None, since: str = ""
    ) -> None:
        self._topic = topic
        self._found = dict(known or {})
        self._since = since  # what has happened until then is known; empty: nothing is
        self._stream: Stream | None = None
        self._end = 0.0
        self._line = b""

    def look(self) -> Mapping[str, Object]:
        """All there are, by name; raises as Api.ask(), and Transient where the watch fails."""
        try:
            self._follow(self._topic.api.clock.monotonic())
        except (OSError, Malformed) as error:
            self.close()
            raise Transient(f"the watch of {self._topic.selection.path} ended: {error}") from error
        except Failure:
            self.close()
            raise
        return dict(self._found)

    def told(self, name: str) -> Object | None:
        """The object of that name as of the last look, which is not waited for."""
        return self._found.get(name)

    def close(self) -> None:
        """Let go of the connection; the next look begins anew where this one ends."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._line = None, b""

    def _follow(self, now: float) -> None:
        for _ in range(_TRIES):
            try:
                self._read(now)
                if self._stream is None:
                    self._begin(now)
                    self._read(now)
            except Expired as expired:
                self.close()
                self._since, why = "", expired.message
            else:
                return
        raise Transient(why)

    def _begin(self, now: float) -> None:
        api, selection = self._topic.api, self._topic.selection
        if not self._since:
            items, self._since = api.list_of(selection)
            self._found = {name: each for each in items if (name := self._topic.name_of(each))}
        self._stream = api.watch(selection, since=self._since, seconds=self._topic.lasts)
        self._end = now + self._topic.lasts + LATE

    def _read(self, now: float) -> None:
        """Take what has come; a watch that is over is let go of."""
        stream = self._stream
        if stream is None:
            return
        *lines, self._line = (self._line + stream.read()).split(b"\n")
        if len(self._line) > MAX_LINE:
            raise Transient("one object is larger than any can be")
        for line in filter(None, lines):
            self.take(line)
        if stream.over or now >= self._end:
            self.close()

    def take(self, line: bytes) -> None:
        """Take one event of a watch; raises Transient for what is none, and Expired."""
        try:
            event = parsed(line)
            what, found = event["type"], event["object"]
            name, revision = self._topic.name_of(found), revision_of(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("the API server's answer is no event of a watch") from None
        if what == "ERROR":
            raise Expired(str(found.get("message") or "the watch cannot go on"))
        if what == "DELETED":
            self._found.pop(name, None)
        elif what in ("ADDED", "MODIFIED") and name:
            self._found[name] = found
        self._since = revision or self._since


class Watched:
    """The metadata of the objects of a part of the state; nothing happens unless it is asked for.

    ``every`` is how many seconds after a failure the API server is asked again.
    """

    def __init__(self, objects: Objects, every: float, *, lasts: int = LASTS) -> None:
        self._objects = objects
        self._every = every
        selection = Selection(
            objects.kind.path(objects.namespace), labels=objects.selector({}), metadata=True
        )
        self.following = Following(Topic(objects.api, selection, objects.whose, lasts))
        self._lock = threading.Lock()
        self._failure: DiskTrouble | None = None
        self._again = 0.0

    def look(self) -> Mapping[str, Object]:
        """All there are, by whose they are; raises DiskTrouble if nobody can tell."""
        with self._lock:
            now = self._objects.api.clock.monotonic()
            if self._failure is not None and now < self._again:
                raise self._failure
            try:
                found = self.following.look()
            except Failure as failure:
                doing = f"watch {self._objects.kind.plural} in {self._objects.namespace}"
                self._failure = DiskTrouble(doing, OSError(failure.message))
                self._again = now + self._every
                raise self._failure from failure
            self._failure = None
            return found

    def told(self, whose: str) -> Object | None:
        """What there was of ``whose`` at the last look."""
        return self.following.told(whose)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self.following.close()
