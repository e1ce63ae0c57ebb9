"""What there is of certrotd's own objects, as a watch of the API server tells it.

A watch ends silently: the server ends it after a minute, a router may forget the connection, and
what is older than a few minutes is not told any more (410). So it has an end of its own, and after
that, or where it cannot go on, all is listed anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from certrotd.errors import Failure, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.https.http1 import Malformed
from certrotd.https.stream import Stream
from certrotd.jsontext import parsed
from certrotd.kube.api import Expired, Object
from certrotd.kube.objects import Objects, revision_of

LASTS = 60
"""So many seconds the server goes on with one watch."""
LATE = 10.0
"""So many seconds later it is hanging."""
MAX_LINE = 2 * 1024 * 1024
_TRIES = 3


class Watched:
    """The metadata of the objects of a part of the state; nothing happens unless it is asked for.

    ``every`` is how many seconds after a failure the API server is asked again.
    """

    def __init__(self, objects: Objects, every: float, *, lasts: int = LASTS) -> None:
        self._objects = objects
        self._path = objects.kind.path(objects.namespace)
        self._every = every
        self._lasts = lasts
        self._lock = threading.Lock()
        self._found: dict[str, Object] = {}
        self._since = ""  # what has happened until then is known; empty: nothing is
        self._stream: Stream | None = None
        self._end = 0.0
        self._line = b""
        self._failure: DiskTrouble | None = None
        self._again = 0.0

    def look(self) -> Mapping[str, Object]:
        """All there are, by whose they are; raises DiskTrouble if nobody can tell."""
        with self._lock:
            now = self._objects.api.clock.monotonic()
            if self._failure is not None and now < self._again:
                raise self._failure
            try:
                self._follow(now)
            except (Failure, OSError, Malformed) as error:
                self._stop()
                why = error.message if isinstance(error, Failure) else str(error)
                doing = f"watch {self._objects.kind.plural} in {self._objects.namespace}"
                self._failure = DiskTrouble(doing, OSError(why))
                self._again = now + self._every
                raise self._failure from error
            self._failure = None
            return dict(self._found)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._stop()

    def _follow(self, now: float) -> None:
        for _ in range(_TRIES):
            try:
                self._read(now)
                if self._stream is None:
                    self._begin(now)
                    self._read(now)
            except Expired as expired:
                self._stop()
                self._since, why = "", expired.message
            else:
                return
        raise Transient(why)

    def _begin(self, now: float) -> None:
        api, labels = self._objects.api, self._objects.selector({})
        if not self._since:
            items, self._since = api.list_of(self._path, labels=labels)
            self._found = {name: each for each in items if (name := self._objects.whose(each))}
        self._stream = api.watch(self._path, labels=labels, since=self._since, seconds=self._lasts)
        self._end = now + self._lasts + LATE

    def _read(self, now: float) -> None:
        """Take what has come; a watch that is over is let go of."""
        stream = self._stream
        if stream is None:
            return
        *lines, self._line = (self._line + stream.read()).split(b"\n")
        if len(self._line) > MAX_LINE:
            raise Transient("one object is larger than any can be")
        for line in filter(None, lines):
            self._take(line)
        if stream.over or now >= self._end:
            self._stop()

    def _take(self, line: bytes) -> None:
        try:
            event = parsed(line)
            what, found = event["type"], event["object"]
            name, revision = self._objects.whose(found), revision_of(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Transient("the API server's answer is no event of a watch") from None
        if what == "ERROR":
            raise Expired(str(found.get("message") or "the watch cannot go on"))
        if what == "DELETED":
            self._found.pop(name, None)
        elif what in ("ADDED", "MODIFIED") and name:
            self._found[name] = found
        self._since = revision or self._since

    def _stop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._line = None, b""
