"""The consumers of a keyring, as its entry has them: how each is told, and how it confirms."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from certrotd.config.acknowledgements import (
    SOCKET,
    ApiServerAcknowledgement,
    HeartbeatAcknowledgement,
)
from certrotd.config.keyrings import ConsumerEntry, KeyringEntry
from certrotd.errors import Failure, failed
from certrotd.keys.proof import Proof
from certrotd.keys.shared import Shared
from certrotd.keys.world import Consumer, Proving


class ConfiguredConsumers:
    """Those of one entry; ``heartbeats`` is where those are kept that come over the socket."""

    def __init__(self, entry: KeyringEntry, shared: Shared, heartbeats: Path) -> None:
        self._entries = entry.consumers
        self._shared = shared
        self._heartbeats = heartbeats

    def all(self) -> Mapping[str, Consumer]:
        """Each by its name, with its target."""
        return {name: self._consumer(name, entry) for name, entry in self._entries.items()}

    def problems(self, has_keys: Callable[[], bool]) -> Iterator[Failure]:
        """Targets that could not be told."""
        for entry in self._entries.values():
            if entry.target is not None:
                yield from failed(partial(self._check, entry.target, has_keys))

    def _check(self, name: str, has_keys: Callable[[], bool]) -> None:
        target = self._shared.target(name)
        if isinstance(target, Proving) and not has_keys():
            return  # its application may wait for them
        target.check()

    def _consumer(self, name: str, entry: ConsumerEntry) -> Consumer:
        target = self._shared.target(entry.target) if entry.target else None
        proof = Proof(target) if isinstance(target, Proving) else None
        alone = partial(self._shared.alone, entry.target)
        return Consumer(name, target, self._acknowledgement(entry) or proof, alone)

    def _acknowledgement(self, entry: ConsumerEntry) -> Any:
        acknowledge = entry.acknowledge
        if acknowledge is None:
            return None
        if isinstance(acknowledge, HeartbeatAcknowledgement) and acknowledge.heartbeat == SOCKET:
            acknowledge = acknowledge.model_copy(update={"heartbeat": self._heartbeats})
        kind = type(acknowledge).__name__.removesuffix("Acknowledgement").lower()
        build = importlib.import_module(f"certrotd.consumers.{kind}").build
        premises = self._shared.premises
        if isinstance(acknowledge, ApiServerAcknowledgement):
            return build(acknowledge, premises.clock, premises.connect)
        return build(acknowledge, premises.clock)
