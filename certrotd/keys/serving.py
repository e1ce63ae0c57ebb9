"""The socket over which the client library gets keyrings, while the daemon runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from certrotd.client.beats import Files
from certrotd.clock import Clock
from certrotd.config.keyrings import KeyServerEntry
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keys.managed import ConfiguredKeyring
from certrotd.keyserver.readers import Readers
from certrotd.keyserver.server import Answers, KeyServer, Peer
from certrotd.keyserver.wire import Provided

MOST = 1000
"""Instances of one user that are heard: whoever makes up more of them fills no disk."""
GONE = datetime(2000, 1, 1, tzinfo=UTC)
"""The time of the last heartbeat of an instance that took leave: it is counted, and gone."""


class KeyringService:
    """Service, of the keyrings of one configuration."""

    name = "the key server"

    def __init__(
        self,
        entry: KeyServerEntry,
        keyrings: Mapping[str, ConfiguredKeyring],
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._keyrings = keyrings
        self._clock = clock
        self._lock = threading.Lock()
        self._given: dict[str, Provided] = {}
        self._hearing = threading.Lock()
        self._owners: dict[tuple[str, str, str], int] = {}
        self._readers = {
            name: Readers(frozenset(each.entry.readers.users), frozenset(each.entry.readers.groups))
            for name, each in keyrings.items()
        }
        answers = Answers(self._may_read, self._provide, self._heard, self._left)
        self._server = KeyServer(
            entry.socket, answers, clock=clock, report=report, mode=int(entry.mode)
        )

    def start(self) -> None:
        """Listen; raises Failure."""
        self._server.start()

    def close(self) -> None:
        """Take the socket away."""
        self._server.close()

    def _may_read(self, name: str, peer: Peer) -> bool:
        readers = self._readers.get(name)
        return readers is not None and readers.include(peer)

    def _provide(self, name: str) -> Provided:
        """The keys as they are; no KEK is asked while the revision is the same."""
        keyring = self._keyrings[name]
        known = keyring.store.inspect()
        if known is None:
            raise NeedsOperator(f"there is no key of {name} yet")
        with self._lock:
            given = self._given.get(name)
        if given is not None and given.revision == known.revision:
            return given
        found = keyring.world().found().keyring
        used = {number: each.use.messages for number, each in found.entries.items()}
        given = Provided(Delivery.of(found), found.revision, used)
        with self._lock:
            self._given[name] = given
        return given

    def _heard(self, beat: Heartbeat, peer: Peer) -> None:
        self._keep(replace(beat, at=self._clock.now()), peer)

    def _left(self, beat: Heartbeat, peer: Peer) -> None:
        self._keep(replace(beat, at=GONE), peer)

    def _keep(self, beat: Heartbeat, peer: Peer) -> None:
        """Keep it; an instance is its user's, as far as this process has heard of it.

        Raises InvalidInput for that of another user, and for one too many of a user.
        """
        who = beat.keyring, beat.client, beat.instance
        files = Files(self._keyrings[beat.keyring].own_heartbeats, 0o600)
        with self._hearing:
            owner = self._owners.get(who)
            if owner is None and sum(uid == peer.uid for uid in self._owners.values()) >= MOST:
                raise InvalidInput(f"user {peer.uid} has more than {MOST} processes")
            if owner not in (None, peer.uid):
                raise InvalidInput("the instance of a heartbeat is another user's")
            try:
                files.send(beat)
            except DiskTrouble:
                files.prepare()
                files.send(beat)
            if beat.at == GONE:
                self._owners.pop(who, None)
            else:
                self._owners[who] = peer.uid
