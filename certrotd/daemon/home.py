"""Where a process keeps its state: a directory, or a cluster in the place of most of it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from certrotd.clock import Deadline, SystemClock
from certrotd.config.model import Config
from certrotd.config.state import KubernetesStateEntry
from certrotd.daemon.leading import Leading, Led
from certrotd.errors import Failure, LockHeld
from certrotd.id import Id
from certrotd.kube.patience import Patience
from certrotd.state.directory import DAEMON_LOCK, StateDirectory
from certrotd.state.ports import Document, State
from certrotd.state.shard import ALL

if TYPE_CHECKING:  # what a host does not need
    from certrotd.kube.connecting import Lasting

_POLL = 2.0
_POLL_OF_A_SHARD = 0.5
"""Seconds between two looks of who stands by, which reads the Lease of each shard."""


class Home:
    """The directory that every process has, and the State, which is that or lies in a cluster.

    In a cluster the directory still has the audit log.
    ``migrated``: what lead() did to a directory of an older format, in words. ``shard`` is what
    this process looks after: all, or since lead() a part. ``rights`` are what accounts had in
    clusters, whatever is reloaded; ``patience`` is how many seconds API servers that are away are
    waited for in all (None: as long as each act waits).
    """

    def __init__(
        self,
        config: Config,
        *,
        command: str,
        now: Callable[[], datetime],
        patience: float | None = None,
    ) -> None:
        self.local = StateDirectory(config.state_dir, command=command, now=now)
        self.migrated = ""
        self.rights: Lasting = {}
        self.patience = Patience(patience)
        self.shard = ALL
        self.state: State = (
            self.local
            if config.state is None
            else _in_cluster(config.state, command, now, self.patience)
        )
        self._shards = config.state.shards if config.state else 1
        self.leading = Leading(self.state, self._shards)

    @property
    def shared(self) -> bool:
        """Whether processes with other directories have the same state."""
        return self.state is not self.local

    def daemon_runs(self, subjects: Iterable[Id]) -> bool:
        """Whether daemons are at work that look after these; raises DiskTrouble."""
        if self.shared:
            shards = {self.leading.shard_of(str(each)) for each in subjects}
            return all(map(self.leading.led, shards))
        return self.local.daemon_runs()

    def own(self, name: str) -> Document:
        """The document of that name of the daemon that looks after what this one does."""
        return self.state.document(name if self.shard.of == 1 else f"{name}/{self.shard.number}")

    @contextmanager
    def lead(
        self,
        stopping: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _words: None,
        draw: Callable[[], float] = random.random,  # spreads those that begin at once
    ) -> Iterator[Led]:
        """Be the one daemon of the state, or of a shard, for a block, and make the directory.

        Of a directory another one is an error: LockHeld. Of a cluster it is waited for, as a
        replica does; raises Stopped if the process is told to stop meanwhile.
        Raises as StateDirectory.prepare() does.
        """
        what, clock = f"the state directory {self.local.path}", SystemClock()
        with ExitStack() as held:
            # whoever asks whether a daemon runs holds it for a moment
            wait = Deadline(clock, 1.0)
            led = Led(
                self.shard, [held.enter_context(self.local.lock(DAEMON_LOCK, what, wait=wait))]
            )
            # before it waits: commands beside a replica use its directory as well
            self.migrated = self.local.prepare(held=True)
            waits, first = "", 1 + int(draw() * self._shards)
            while self.shared:
                try:
                    led = held.enter_context(self.leading.lead(first))
                except Failure as failure:
                    why = failure.holder if isinstance(failure, LockHeld) else str(failure)
                    if why != waits:
                        say(f"waits to take over: {why}")
                    waits = why
                else:
                    break
                if stopping():
                    from certrotd.rotation.outcome import Stopped  # a command loads no engine

                    raise Stopped("the process was told to stop")
                clock.sleep(max(_POLL, self._shards * _POLL_OF_A_SHARD))
            self.shard = led.shard
            yield led


def _in_cluster(
    entry: KubernetesStateEntry, command: str, now: Callable[[], datetime], patience: Patience
) -> State:
    from certrotd.kube.connecting import Connections
    from certrotd.kube.state import ClusterState

    # not the clock that wakes sleepers when the process is to stop: a record is written whole
    connections = Connections(SystemClock(), os.environ, patience=patience)
    api = connections.api(entry.kubeconfig, entry.context)
    words = f"{socket.gethostname()}, process {os.getpid()} ({command[:200]}, since "
    return ClusterState(
        api,
        entry.namespace or api.access.namespace,
        entry.instance,
        words=f"{words}{now().isoformat(timespec='seconds')})",
    )
