"""What an application says when it opens a keyring."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.client.beats import Channel, Files, Socket
from certrotd.client.sources import FileSource, SocketSource, Source
from certrotd.clock import Clock
from certrotd.errors import Failure, InvalidInput
from certrotd.id import is_name

if TYPE_CHECKING:
    from certrotd.client.keks import KekLike

Place = str | os.PathLike[str]
_UNIX = "unix:"


def reported(failure: Failure) -> None:
    """Logs a warning as ``certrotd.client``, through the standard library's logging."""
    import logging

    logging.getLogger("certrotd.client").warning("%s", failure)


@dataclass(frozen=True)
class Settings:
    """As Keyring.open() has them; raises InvalidInput for times that are none."""

    client: str
    refresh: float
    every: float
    background: bool
    on_trouble: Callable[[Failure], None]
    clock: Clock

    def __post_init__(self) -> None:
        if not (0 < self.refresh < float("inf") and 0 < self.every < float("inf")):
            raise InvalidInput("refresh and every are times in seconds, greater than zero")

    def connected(
        self,
        source: Place,
        *,
        name: str,
        kek: KekLike | None,
        keks: Mapping[str, KekLike] | None,
        heartbeats: Place | None,
        mode: int,
    ) -> tuple[Source, Channel | None]:
        """Where the keyring is, and where its heartbeats go; raises InvalidInput."""
        if name and not is_name(name):
            raise InvalidInput("the name of the keyring is none that a keyring can have")
        socket = _socket(source)
        channel: Channel | None = None
        if heartbeats is not None:
            there = _socket(heartbeats)
            channel = Socket(there, self.clock) if there else Files(Path(heartbeats), mode)
        elif socket is not None:
            channel = Socket(socket, self.clock)
        if channel is not None and not is_name(self.client):
            raise InvalidInput(
                "heartbeats need the name of the application",
                hint='client="shop": lower-case letters, digits, - and _',
            )
        if socket is None:
            from certrotd.client.keks import keks_of

            return FileSource(Path(source), keks_of(kek, keks), name, self.clock), channel
        if kek is not None or keks is not None:
            raise InvalidInput("keys from a socket come unwrapped: give no KEK")
        if not name:
            raise InvalidInput("say which keyring of the socket", hint='name="orders"')
        return SocketSource(socket, name, self.clock), channel


def _socket(place: Place) -> Path | None:
    text = os.fspath(place)
    return Path(text.removeprefix(_UNIX)) if text.startswith(_UNIX) else None
