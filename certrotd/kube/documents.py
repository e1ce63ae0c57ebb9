"""A document in a Secret: replaced whole, compared by its resourceVersion."""

from __future__ import annotations

from certrotd.kube.api import Missing, revision_of
from certrotd.kube.objects import Objects, data_of, secret
from certrotd.state.ports import ABSENT, Conflict, Content, TooLarge

MAX_SECRET = 1_000_000
"""Bytes of a document: a Secret holds 1 MiB."""
ASIDE = "unreadable/"
_KEY = "document"
_TRIES = 10


class SecretDocument:
    """As ports.Document."""

    def __init__(self, objects: Objects, name: str, *, limit: int = MAX_SECRET) -> None:
        self._objects = objects
        self._name = name
        self._limit = limit

    @property
    def place(self) -> str:
        return self._objects.place(self._name)

    def read(self) -> Content | None:
        found = self._objects.read(self._name)
        if found is None:
            return None
        return Content(data_of(found, self.place).get(_KEY, b""), revision_of(found))

    def revision(self) -> str:
        found = self._objects.read(self._name, metadata=True)
        return ABSENT if found is None else revision_of(found)

    def write(self, data: bytes, *, expected: str | None = None) -> str:
        if len(data) > self._limit:
            raise TooLarge(
                f"{self.place} would be larger than {self._limit} bytes",
                hint="a Secret holds no more than 1 MiB",
            )
        if expected is not None:
            return self._put(self._name, data, expected)
        return self._over(self._name, data)

    def set_aside(self) -> str:
        """As Document.set_aside; the last one is kept."""
        found = self._objects.read(self._name)
        aside = f"{ASIDE}{self._name}"
        if found is None:
            return self._objects.place(aside)
        self._over(aside, data_of(found, self.place).get(_KEY, b""))
        path, revision = self._objects.path(self._name), revision_of(found)

        def remove() -> None:
            try:
                self._objects.api.delete(path, revision=revision)
            except Missing:  # a request whose answer was lost
                return

        self._objects.patiently(f"remove {self.place}", remove)
        return self._objects.place(aside)

    def _over(self, name: str, data: bytes) -> str:
        """Write whatever is there."""
        for _ in range(_TRIES - 1):
            found = self._objects.read(name, metadata=True)
            try:
                return self._put(name, data, ABSENT if found is None else revision_of(found))
            except Conflict:
                continue  # somebody was quicker: this one is to stand
        return self._put(name, data, self.revision())

    def _put(self, name: str, data: bytes, revision: str) -> str:
        return revision_of(self._objects.write(name, secret({_KEY: data}), revision=revision))
