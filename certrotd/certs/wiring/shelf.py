"""Adapters of one kind, each built when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from certrotd.certs.ports import Preflight
from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.rotation.stopping import acquired

T = TypeVar("T")


class Shelf(Generic[T]):
    """Adapters of one kind by name, each built once, when first asked for.

    In a ``dry`` run they are asked without a trace, and once, whatever they answer.
    """

    def __init__(
        self, entries: Mapping[str, Any], build: Callable[[str, Any], T], *, dry: bool = False
    ) -> None:
        self._dry = dry
        self._entries = entries
        self._build = build
        self._built: dict[str, T] = {}
        self._ready: set[str] = set()
        self._unfit: dict[str, Failure] = {}
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.RLock()

    def find(self, name: str) -> T | None:
        """The adapter, or None if the configuration has no such entry."""
        return self.get(name) if name in self._entries else None

    def get(self, name: str) -> T:
        """The adapter; NeedsOperator if the configuration has no such entry."""
        with self._lock:
            if name not in self._built:
                if name not in self._entries:
                    raise NeedsOperator(f"the configuration no longer has {name!r}")
                self._built[name] = self._build(name, self._entries[name])
            return self._built[name]

    def all(self) -> Iterator[T]:
        """Every adapter of the configuration."""
        return (self.get(name) for name in self._entries)

    def ready(self, name: str, deadline: Deadline, *, ask: bool = True) -> None:
        """Let the adapter say what cannot work; once it was content it is not asked again.

        One thread asks, while the other adapters can be had. Raises Transient where that takes
        the whole of the deadline. Unless to ``ask``, it is enough that the adapter can be built.
        """
        if name in self._unfit:
            raise self._unfit[name]
        try:
            adapter = self.get(name)
            if ask:
                self._ask(name, adapter, deadline)
        except Failure as failure:
            if self._dry:  # nothing depends on it, so a thousand certificates cost one question
                self._unfit[name] = failure
            raise

    def _ask(self, name: str, adapter: T, deadline: Deadline) -> None:
        with self._lock:
            asking = self._asking.setdefault(name, threading.Lock())
        if not acquired(asking, deadline):
            raise Transient(f"{name!r} is still being checked by another rotation")
        try:
            if name not in self._ready and isinstance(adapter, Preflight):
                adapter.preflight(deadline=deadline, dry=self._dry)
            self._ready.add(name)
        finally:
            asking.release()

    def close(self) -> None:
        """Close every adapter that can be."""
        for adapter in self._built.values():
            if hasattr(adapter, "close"):
                adapter.close()
