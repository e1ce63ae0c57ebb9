"""One object that others read, and may have made: certrotd has only the fields that it applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from certrotd.kube.api import Api, Kind, Missing, Object, revision_of
from certrotd.kube.memory import FRESH, Memory, forgetting
from certrotd.kube.objects import WRITE, no_namespace, patiently, word, written_once

MANAGER = "certrotd"
"""Who has the fields, in managedFields, of an object that is certrotd's as a whole."""
T = TypeVar("T")


@dataclass(frozen=True)
class Applied:
    """The object of that ``name``, written by server-side apply.

    ``patience`` is how many seconds an API server that is away is waited for. Fields that
    ``manager`` had, and does not apply again, go.
    """

    api: Api
    kind: Kind
    namespace: str
    name: str
    patience: float = 60.0
    manager: str = MANAGER
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    def alone(self) -> AbstractContextManager[None]:
        """Within the block it is read once in a while: no other certrotd writes it."""
        return self.memory.alone(self.name, self.api.clock)

    @property
    def path(self) -> str:
        """Its path."""
        return self.kind.path(self.namespace, self.name)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.kind.plural}/{self.name} in the namespace {self.namespace}"

    def read(self) -> Object | None:
        """The object, None if there is none; raises DiskTrouble, or what Api.get does."""
        now, known = self.api.clock.monotonic(), self.memory.of(self.name)
        if known is None:
            just = self.memory.just_left(self.name, self.api.clock)
            if just is not None and now - just.read.get(self.name, now - 2 * FRESH) < FRESH:
                return just.objects[self.name]
            return self._patiently("read", self._get)
        if now - known.read.get(self.name, now - 2 * FRESH) >= FRESH:
            self._remember(self._patiently("read", self._get))
        return known.objects[self.name]

    def last(self) -> Object | None:
        """The same, as this thread has read or written it last in the block, however long ago."""
        known = self.memory.of(self.name)
        if known is None or self.name not in known.objects:
            return self.read()
        return known.objects[self.name]

    def _remember(self, found: Object | None) -> None:
        known = self.memory.of(self.name)
        if known is not None:
            known.objects[self.name] = found
            known.read[self.name] = self.api.clock.monotonic()

    def apply(
        self, content: Object, *, over: Object | None, annotations: Mapping[str, str]
    ) -> Object:
        """Have these fields in the object, which is ``over`` as it was read; or make it.

        Raises Conflict if it is another by now, DiskTrouble, and what Api.apply does. A request
        without an answer may have been carried out: the word that came with it tells.
        """
        mine = word()
        metadata: Object = {
            "name": self.name,
            "namespace": self.namespace,
            "annotations": {**annotations, WRITE: mine},
        }
        if over is not None:
            metadata["resourceVersion"] = revision_of(over)
        body = {**content, "metadata": metadata}

        def put() -> Object:
            try:
                # by force only over what was read: of what somebody makes meanwhile nothing is
                return self.api.apply(self.path, body, manager=self.manager, force=over is not None)
            except Missing:
                raise no_namespace(self.namespace) from None

        once = written_once(put, lambda: self.api.get(self.path), mine)
        with forgetting(self.memory.of(self.name)):
            found = self._patiently("write", once)
        self._remember(found)
        return found

    def rehearse(self, content: Object) -> None:
        """Have the API server say whether the object could be made; raises as apply()."""
        body = {**content, "metadata": {"name": self.name, "namespace": self.namespace}}

        def apply() -> None:
            try:
                self.api.apply(self.path, body, manager=self.manager, force=False, dry=True)
            except Missing:
                raise no_namespace(self.namespace) from None

        self._patiently("write", apply)

    def _get(self) -> Object | None:
        try:
            return self.api.get(self.path)
        except Missing:
            return None

    def _patiently(self, doing: str, act: Callable[[], T]) -> T:
        return patiently(self.api, self.patience, f"{doing} {self.place}", act)
