"""Connections to hosts by name or address, of which nothing outlasts a deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

from certrotd.address import is_ip
from certrotd.clock import Deadline

MAX_LOOKUPS = 32
RESOLVER = "the resolver of this machine does not answer: see /etc/resolv.conf"

# Of the whole process, as threads are: a look-up that hangs cannot be ended, only counted.
_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)

Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


class NotLookedUp(TimeoutError):
    """The system's look-up of a name did not end in time; says so in words."""


def look_up(host: str, port: int, kind: socket.SocketKind, *, deadline: Deadline) -> Found:
    """As socket.getaddrinfo; raises NotLookedUp at the deadline.

    The system's own look-up, because only that knows /etc/hosts, search domains and whatever else
    is configured, has no deadline: it is left behind in a thread, at most 32 of them at a time.
    """
    if is_ip(host):
        return socket.getaddrinfo(host, port, type=kind)
    late = NotLookedUp(f"{host} was not looked up within {round(deadline.remaining, 1):g}s")
    found: SimpleQueue[Found | OSError | UnicodeError] = SimpleQueue()

    def look() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=kind))
        except (OSError, UnicodeError) as error:
            found.put(error)
        finally:
            _lookups.release()

    if not _lookups.acquire(timeout=deadline.remaining):
        raise late
    try:
        threading.Thread(target=look, name=f"look up {host}", daemon=True).start()
    except RuntimeError as error:
        _lookups.release()
        raise OSError(str(error)) from None
    try:
        answer = found.get(timeout=deadline.remaining)
    except Empty:
        raise late from None
    if isinstance(answer, OSError | UnicodeError):
        try:
            raise answer
        finally:
            del answer  # it knows of this frame
    return answer


def connect(host: str, port: int, *, deadline: Deadline) -> socket.socket:
    """A connection to the first address of ``host`` that takes one, and its timeout set.

    Raises OSError: NotLookedUp, TimeoutError, or what the last address answered.
    """
    found = look_up(host, port, socket.SOCK_STREAM, deadline=deadline)
    last: OSError = TimeoutError()
    for left, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        try:
            connection = socket.socket(family, kind, protocol)
            try:
                # one address that swallows packets must not use up the time of the others
                limit(connection, deadline.within(deadline.remaining / left))
                connection.connect(address)
                limit(connection, deadline)
                return connection
            except OSError:
                connection.close()
                raise
        except OSError as error:
            last = error
    try:
        raise last
    finally:
        del last  # it knows of this frame: a circle that kept the caller's context, with its roots


def limit(connection: socket.socket, deadline: Deadline) -> None:
    """Let no single wait of the connection outlast the deadline; TimeoutError if it has passed."""
    # a timeout of zero would mean not to wait at all, and fail in other words
    if deadline.passed:
        raise TimeoutError
    connection.settimeout(deadline.remaining)
