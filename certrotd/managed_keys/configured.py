"""The managed keys of a configuration: their policies, and what their rotations act upon."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property, partial
from typing import cast

from certrotd.clock import Clock
from certrotd.config.managed_keys import SERVICES, ManagedKeyEntry, ServiceEntry, identity_of
from certrotd.config.model import Config
from certrotd.id import Id
from certrotd.kek.managed.build import managed_key_of
from certrotd.kek.managed.port import ManagedKey
from certrotd.lifecycle.attempts import attempts_of
from certrotd.lifecycle.wing import Premises
from certrotd.managed_keys.document import FOLDER, seen_in
from certrotd.managed_keys.policy import Policy, Seen, Standing
from certrotd.managed_keys.retention import Retention
from certrotd.managed_keys.steps import World
from certrotd.state.ports import History, Journal, Lease
from certrotd.state.typed import TypedDocument

_DAY = timedelta(days=1)


class ConfiguredManagedKey:
    """One entry of ``managed_keys`` with what its rotation needs; the key is built when used."""

    def __init__(self, name: str, config: Config, premises: Premises) -> None:
        self._entry = config.keys.managed[name]
        self._kek = cast("ServiceEntry", config.keys.keks[self._entry.kek])  # as was cross-checked
        self._premises = premises
        self.policy = _policy(name, self._entry, self._kek, config.watch_every)

    @property
    def id(self) -> Id:
        return self.policy.id

    @property
    def clock(self) -> Clock:
        return self._premises.clock

    @cached_property
    def journal(self) -> Journal:
        return self._premises.state.journal(str(self.id))

    @property
    def history(self) -> History:
        return self.journal.history

    @cached_property
    def key(self) -> ManagedKey:
        """The key where it is kept; nothing is asked yet."""
        return managed_key_of(self._entry.kek, self._kek)

    def document(self) -> TypedDocument[Seen]:
        """What was seen of it last; one of its own for every thread."""
        return seen_in(self._premises.state.document(f"{FOLDER}/{self.policy.name}"))

    def lock(self) -> AbstractContextManager[Lease]:
        """As Rotatable.lock."""
        return self._premises.lock(str(self.id), f"managed key {self.policy.name}", None)

    def in_flight(self) -> bool:
        """Whether a rotation of it is open."""
        return self._premises.in_flight(self.id)

    def wake(self) -> None:
        """Ask that it is looked at now."""
        self._premises.state.wake(str(self.id))

    def configuration(self) -> str:
        """As Rotatable.configuration."""
        return _digest([self._entry, self._kek])

    def world(self) -> World:
        """What one rotation acts upon."""
        heard = partial(self._premises.asked_service, self.id, self.policy.place)
        return World(self.key, self.policy.key, self.document(), self.clock, heard)

    def look(self) -> Standing:
        """What is known of it; nothing is asked. Raises Failure and OSError."""
        return Standing(
            self.document().peek(), attempts_of(self.history.last(), self.configuration())
        )


def _policy(name: str, entry: ManagedKeyEntry, kek: ServiceEntry, every: timedelta) -> Policy:
    return Policy(
        name=name,
        service=SERVICES[kek.type],
        place=f"{SERVICES[kek.type]} {_where(kek)}".rstrip(),
        key=_digest(identity_of(kek)),
        cryptoperiod=entry.period,
        by_service=entry.rotated_by == "service",
        fresh=max(_DAY, 2 * every),
        retention=_retention(entry),
        window=entry.window,
        enabled=entry.enabled,
        purpose=entry.purpose,
        owner=entry.owner,
        classification=entry.classification,
    )


def _retention(entry: ManagedKeyEntry) -> Retention | None:
    if entry.keep_versions is None or entry.retire_after is None:
        return None  # of the two there is none, or both
    return Retention(entry.keep_versions, entry.retire_after)


def _where(kek: ServiceEntry) -> str:
    """The server: what hangs when it does, hangs for all of its keys."""
    match kek.type:
        case "aws-kms":
            return kek.endpoint or kek.effective_region or ""
        case "vault":
            return kek.address
        case "azure-keyvault":
            return kek.vault


def _digest(part: object) -> str:
    from pydantic_core import to_json

    return hashlib.sha256(to_json(part, fallback=str)).hexdigest()[:16]
