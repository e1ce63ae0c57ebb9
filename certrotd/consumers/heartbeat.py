"""An acknowledgement by the heartbeats of the client library, a file for each process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from certrotd.clock import Clock
from certrotd.config.keyrings import HeartbeatAcknowledgement
from certrotd.consumers.port import Answer, Expected
from certrotd.errors import InvalidInput, listed
from certrotd.files.disktrouble import DiskTrouble, explained
from certrotd.files.reading import read_file
from certrotd.keyring.heartbeat import MAX_BYTES, Heartbeat, merged, parse

MOST = 10_000
"""Files of a directory that are looked at."""


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
            heartbeats = heard(self.directory)
        except FileNotFoundError:
            return Answer(False, f"has no directory {self.directory} yet")
        except (DiskTrouble, InvalidInput) as error:
            return Answer(False, f"cannot be asked: {error.message}")
        found = merged(
            heartbeats,
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


def heard(directory: Path) -> Sequence[Heartbeat]:
    """Every heartbeat in a directory.

    Raises FileNotFoundError without one, DiskTrouble, and InvalidInput for a file that is none.
    """
    with explained(f"read {directory}"):
        names = sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    if len(names) > MOST:
        raise InvalidInput(f"{directory} has more than {MOST} heartbeats")
    found = []
    for name in names:
        try:
            data = read_file(directory / name, limit=MAX_BYTES, follow=False)
        except FileNotFoundError:
            continue  # the process has ended since
        try:
            found.append(parse(data))
        except InvalidInput as error:
            raise InvalidInput(f"{directory / name}: {error.message}") from None
    return found


def build(entry: HeartbeatAcknowledgement, clock: Clock) -> HeartbeatAnswer:
    """The acknowledgement of a configuration entry."""
    return HeartbeatAnswer(entry.heartbeat, entry.instances, entry.stale, clock)
