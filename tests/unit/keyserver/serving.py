"""A server for tests, and a client that sends exactly what it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certrotd.clock import Clock, SystemClock
from certrotd.errors import Failure
from certrotd.keyring.heartbeat import Heartbeat
from certrotd.keyserver.server import Answers, KeyServer, Peer
from certrotd.keyserver.wire import Provided
from tests.unit.client.sealed import Sealed

PATIENCE = 60
"""Seconds a client waits for what must come, however slow the machine."""


@dataclass
class Daemon:
    """What a server asks of certrotd: ``readers`` are the uids that may read orders."""

    sealed: Sealed
    readers: set[int] = field(default_factory=lambda: {os.geteuid()})
    failure: Failure | Exception | None = None
    heard: list[tuple[Heartbeat, Peer]] = field(default_factory=list)
    left: list[tuple[Heartbeat, Peer]] = field(default_factory=list)
    asked: list[Peer] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)

    def may_read(self, name: str, peer: Peer) -> bool:
        self.asked.append(peer)
        return name == "orders" and peer.uid in self.readers

    def provide(self, name: str) -> Provided:
        if self.failure is not None:
            raise self.failure
        keyring = self.sealed.keyring
        used = {number: each.use.messages for number, each in keyring.entries.items()}
        return Provided(self.sealed.delivery, keyring.revision, used)

    def hear(self, beat: Heartbeat, peer: Peer) -> None:
        if self.failure is not None:
            raise self.failure
        self.heard.append((beat, peer))

    @property
    def answers(self) -> Answers:
        return Answers(self.may_read, self.provide, self.hear, lambda *left: self.left.append(left))


def server_at(
    path: Path, daemon: Daemon, clock: Clock | None = None, mode: int = 0o660
) -> KeyServer:
    """A server that has not started yet."""
    return KeyServer(
        path, daemon.answers, clock=clock or SystemClock(), report=daemon.reports.append, mode=mode
    )


@contextlib.contextmanager
def serving(path: Path, daemon: Daemon, mode: int = 0o660) -> Iterator[KeyServer]:
    """A server for the time of the block."""
    server = server_at(path, daemon, mode=mode)
    server.start()
    try:
        yield server
    finally:
        server.close()


def connect(path: Path) -> socket.socket:
    """A connection to the server."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def answered(client: socket.socket) -> dict[str, Any]:
    """The next answer; empty if the server hangs up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65536):
            received += more
    if not received:
        return {}
    [length] = struct.unpack_from(">I", received)
    assert len(received) == 4 + length
    told: dict[str, Any] = json.loads(received[4:])
    return told


def ask(path: Path, request: object, *, raw: bytes | None = None) -> dict[str, Any]:
    """The answer to one request, or to bytes that are none."""
    data = json.dumps(request).encode()
    with connect(path) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(raw if raw is not None else struct.pack(">I", len(data)) + data)
        if raw is not None:
            client.shutdown(socket.SHUT_WR)
        return answered(client)
