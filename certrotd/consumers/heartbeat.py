"""An acknowledgement by the heartbeats of the client library, a file for each process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certrotd.clock import Clock
from certrotd.config.acknowledgements import HeartbeatAcknowledgement
from certrotd.consumers.port import Answer, Expected
from certrotd.errors import listed
from certrotd.files.disktrouble import DiskTrouble
from certrotd.keyring.heartbeat import merged
from certrotd.keyserver.heartbeat_files import find


@dataclass(frozen=True)
class HeartbeatAnswer:
    """At least ``instances`` processes are heard of in ``directory``, and each has the delivery.

    Who was not heard of for longer than ``stale`` is gone.
    """

    directory: Path
    instances: int
    stale: timedelta
    clock: Clock

    def ask(self, expected: Expected) -> Answer:
        """As Acknowledgement.ask."""
        try:
            there = find(self.directory)
        except DiskTrouble as error:
            return Answer(False, f"cannot be asked: {error.message}")
        if there.failures:
            return Answer(False, f"cannot be asked: {there.failures[0].message}")
        found = merged(
            (each.heartbeat for each in there.heartbeats),
            keyring=expected.keyring,
            expected=expected.delivery,
            now=self.clock.now(),
            stale=self.stale,
        )
        if found.lacking:
            names = (f"{each.client} {each.instance}" for each in found.lacking)
            return Answer(False, f"has processes with other keys: {listed(names, most=3)}")
        if len(found.having) < self.instances:
            return Answer(False, f"has {len(found.having)} of {self.instances} processes")
        return Answer(True)


def build(entry: HeartbeatAcknowledgement, clock: Clock) -> HeartbeatAnswer:
    """The acknowledgement of a configuration entry, whose directory is known."""
    assert isinstance(entry.heartbeat, Path), "that of the socket is put in its place"
    return HeartbeatAnswer(entry.heartbeat, entry.instances, entry.stale, clock)
