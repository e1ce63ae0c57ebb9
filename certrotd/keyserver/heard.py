"""What was heard of the instances of every keyring, and what they have encrypted since."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from certrotd.clock import Clock
from certrotd.errors import InvalidInput
from certrotd.keyring.heartbeat import Counts, Heartbeat, increments
from certrotd.keyserver.heartbeat_files import Found, Left
from certrotd.keyserver.server import Peer

OF_ONE_USER = 1000
"""Instances that are kept: whoever makes up more of them fills no memory."""

Instance = tuple[str, str, str]
"""Keyring, client and instance."""


@dataclass(frozen=True)
class _Known:
    heartbeat: Heartbeat
    uid: int
    file: bool


class Heard:
    """The last heartbeat of each instance, from the socket and from files, for any thread.

    An instance that the socket has not heard of for ``keep`` is forgotten, one of a file when the
    file is gone. ``known`` is what known() gave before a restart: without it, what an instance has
    encrypted would be counted again, which is too much and never too little. After a start, every
    living instance is heard of within the time between two of its heartbeats.
    """

    def __init__(self, clock: Clock, *, keep: timedelta, known: Iterable[Left] = ()) -> None:
        self._clock = clock
        self._keep = keep
        self._lock = threading.Lock()
        self._known: dict[Instance, _Known] = {}
        self._of_user: Counter[int] = Counter()
        self._counts: dict[str, Counter[tuple[int, str]]] = {}
        for each in known:
            self._known[_instance(each.heartbeat)] = _Known(each.heartbeat, each.uid, False)
            self._of_user[each.uid] += 1

    def heard(self, beat: Heartbeat, peer: Peer) -> None:
        """It came over the socket just now, whatever time it says.

        Raises InvalidInput for an instance of another user, and for one too many.
        """
        with self._lock:
            self._take(replace(beat, at=self._clock.now()), peer.uid, file=False)

    def left(self, beat: Heartbeat, peer: Peer) -> None:
        """The last one of an instance that ends; raises as heard()."""
        with self._lock:
            self._take(beat, peer.uid, file=False)
            self._drop(_instance(beat))

    def looked(self, found: Found) -> list[InvalidInput]:
        """Those of a directory are these, and no others; why some of them are not taken."""
        refused: list[InvalidInput] = []
        with self._lock:
            there = {_instance(each.heartbeat) for each in found.heartbeats}
            for each in found.heartbeats:
                try:
                    self._take(each.heartbeat, each.uid, file=True)
                except InvalidInput as error:
                    refused.append(error)
            for gone in [i for i, known in self._known.items() if known.file and i not in there]:
                self._drop(gone)
        return refused

    def of(self, keyring: str) -> tuple[Heartbeat, ...]:
        """The last heartbeat of each instance of ``keyring``."""
        with self._lock:
            self._forget()
            return tuple(
                known.heartbeat for instance, known in self._known.items() if instance[0] == keyring
            )

    def known(self) -> tuple[Left, ...]:
        """Every instance, and its user: to be kept with what counted() gave."""
        with self._lock:
            return tuple(Left(each.heartbeat, each.uid) for each in self._known.values())

    def counted(self, keyring: str) -> Counts:
        """What its instances have encrypted since this was asked last; each message once."""
        with self._lock:
            counts = self._counts.pop(keyring, Counter())
        versions = {version for version, _ in counts}
        return {v: (counts[v, "messages"], counts[v, "bytes"]) for v in versions}

    def _take(self, beat: Heartbeat, uid: int, *, file: bool) -> None:
        instance = _instance(beat)
        known = self._known.get(instance)
        if known is None:
            self._forget()
            if self._of_user[uid] >= OF_ONE_USER:
                raise InvalidInput(
                    f"user {uid} has more than {OF_ONE_USER} instances of keyrings",
                    hint="remove the files of instances that do not live any more",
                )
            self._of_user[uid] += 1
        elif known.uid != uid:
            raise InvalidInput(f"user {uid} speaks for an instance of user {known.uid}")
        totals = self._counts.setdefault(beat.keyring, Counter())
        for version, (messages, size) in increments(
            known.heartbeat if known else None, beat
        ).items():
            totals[version, "messages"] += messages
            totals[version, "bytes"] += size
        self._known[instance] = _Known(beat, uid, file)

    def _drop(self, instance: Instance) -> None:
        uid = self._known.pop(instance).uid
        self._of_user[uid] -= 1
        if not self._of_user[uid]:
            del self._of_user[uid]

    def _forget(self) -> None:
        oldest = self._clock.now() - self._keep
        known = self._known.items()
        for instance in [i for i, k in known if not k.file and k.heartbeat.at < oldest]:
            self._drop(instance)


def _instance(beat: Heartbeat) -> Instance:
    return beat.keyring, beat.client, beat.instance
