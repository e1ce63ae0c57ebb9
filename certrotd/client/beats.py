"""Where an application's heartbeats go: a file for each process, or certrotd's socket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from certrotd.clock import Clock, Deadline

if TYPE_CHECKING:
    from certrotd.keyring.heartbeat import Heartbeat

ASK = 5.0


class Channel(Protocol):
    """Takes heartbeats; both raise a Failure."""

    def send(self, heartbeat: Heartbeat) -> None:
        """Tell it."""
        ...

    def leave(self, last: Heartbeat) -> None:
        """The instance ends; ``last`` is how it stood."""
        ...


class Files:
    """``DIRECTORY/CLIENT.INSTANCE.json``, replaced as a whole, and gone with the instance."""

    def __init__(self, directory: Path, mode: int) -> None:
        self._directory = directory
        self._mode = mode

    def prepare(self) -> None:
        """Make the directory; raises DiskTrouble."""
        from certrotd.files.writing import make_directory

        make_directory(self._directory, mode=0o700)

    def send(self, heartbeat: Heartbeat) -> None:
        """As Channel.send; raises DiskTrouble."""
        from certrotd.files.writing import write_file

        # a power cut ends the process, too: nothing of this has to survive one
        write_file(self._path(heartbeat), heartbeat.render(), mode=self._mode, sync=False)

    def leave(self, last: Heartbeat) -> None:
        """As Channel.leave; raises DiskTrouble."""
        from certrotd.files.writing import remove_file

        remove_file(self._path(last))

    def _path(self, heartbeat: Heartbeat) -> Path:
        from certrotd.keyserver.heartbeat_files import file_name

        return self._directory / file_name(heartbeat)


class Socket:
    """The server at ``path``."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def send(self, heartbeat: Heartbeat) -> None:
        """As Channel.send; raises as asking.ask()."""
        self._say("heartbeat", heartbeat)

    def leave(self, last: Heartbeat) -> None:
        """As Channel.leave; raises as asking.ask()."""
        self._say("leave", last)

    def _say(self, what: str, heartbeat: Heartbeat) -> None:
        import json

        from certrotd.client.asking import ask

        told = json.loads(heartbeat.render())
        ask(self._path, {"op": what, "heartbeat": told}, Deadline(self._clock, ASK))


class Beats:
    """The heartbeats of one instance; ``last`` is the one that arrived last."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.last: Heartbeat | None = None

    def send(self, heartbeat: Heartbeat) -> None:
        """As Channel.send."""
        self.channel.send(heartbeat)
        self.last = heartbeat

    def leave(self, final: Heartbeat | None = None) -> None:
        """Take leave of whoever has heard this instance; raises as Channel.leave."""
        last, self.last = self.last, None
        if last is not None:
            self.channel.leave(final or last)
