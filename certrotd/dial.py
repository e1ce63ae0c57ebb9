"""Connections to hosts by name or address, of which nothing outlasts a deadline."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from certrotd.address import is_ip
from certrotd.clock import Deadline

MAX_LOOKUPS = 32
RESOLVER = "the resolver of this machine does not answer: see /etc/resolv.conf"

# Of the whole process, as threads are: a look-up that hangs cannot be ended, only counted.
_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)

AddressInfos = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


SLICE = 0.5
"""Seconds of one wait: as long as it takes to notice that the process is told to stop."""


class Timeout:
    """How long a connection may take, to its deadline."""

    def __init__(self, limit: Deadline) -> None:
        self.limit = limit

    def begin(self) -> None:
        """Raises what stands against beginning anything new; by itself, nothing does."""

    def check(self) -> None:
        """Raises TimeoutError when the time is over."""
        if self.limit.passed:
            raise TimeoutError

    def wait(self, event: int, sock: Any) -> None:
        """Return when a socket is ready, by select.POLLIN or POLLOUT; raises what check() does."""
        self.check()
        while not ready(sock, event, min(SLICE, self.limit.remaining)):
            self.check()

    def share(self, seconds: float) -> Self:
        """The same, for a part of the time."""
        return type(self)(self.limit.within(seconds))


def ready(sock: Any, event: int, seconds: float = 0.0) -> bool:
    """Whether a socket is ready, by select.POLLIN or POLLOUT, within that time."""
    poll = select.poll()  # not select(): that knows no descriptor above 1023
    poll.register(sock, event)
    return bool(poll.poll(seconds * 1000))


class NotLookedUp(TimeoutError):
    """The system's look-up of a name did not end in time; says so in words."""


def look_up(host: str, port: int, kind: socket.SocketKind, *, deadline: Deadline) -> AddressInfos:
    """As socket.getaddrinfo; raises NotLookedUp at the deadline.

    The system's own look-up, because only that knows /etc/hosts, search domains and whatever else
    is configured, has no deadline: it is left behind in a thread, at most 32 of them at a time.
    """
    if is_ip(host):
        return socket.getaddrinfo(host, port, type=kind)
    late = NotLookedUp(f"{host} was not looked up within {round(deadline.remaining, 1):g}s")
    found: SimpleQueue[AddressInfos | OSError | UnicodeError] = SimpleQueue()

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


def connect(
    host: str,
    port: int,
    *,
    timeout: Timeout,
    permit: Callable[[Sequence[str]], None] = lambda _: None,
) -> socket.socket:
    """A connection, which does not block, to the first address of ``host`` that takes one.

    ``permit`` raises unless its addresses may be asked. Raises OSError: NotLookedUp, TimeoutError,
    or what the last address answered.
    """
    found = look_up(host, port, socket.SOCK_STREAM, deadline=timeout.limit)
    permit([str(address[0]) for *_, address in found])
    last: OSError = TimeoutError()
    for left, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        # one address that swallows packets must not use up the time of the others
        share = timeout.share(timeout.limit.remaining / left)
        try:
            return _reached(socket.socket(family, kind, protocol), address, share)
        except OSError as error:
            last = error
    try:
        raise last
    finally:
        del last  # it knows of this frame: a circle that kept the caller's context, with its roots


def _reached(raw: socket.socket, address: Any, timeout: Timeout) -> socket.socket:
    try:
        timeout.check()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = raw.connect_ex(address)
        if error == errno.EINPROGRESS:
            timeout.wait(select.POLLOUT, raw)
            error = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        raw.close()
        raise
    return raw


def connect_path(path: Path, *, timeout: Timeout) -> socket.socket:
    """A connection, each wait of which ends after SLICE, to whoever listens at ``path``.

    Raises OSError, among them BlockingIOError where too many others wait for it.
    """
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        timeout.check()
        raw.settimeout(SLICE)
        raw.connect(str(path))
    except BaseException:
        raw.close()
        raise
    return raw


def limit(connection: socket.socket, deadline: Deadline) -> None:
    """Let no single wait of the connection outlast the deadline; TimeoutError if it has passed."""
    # a timeout of zero would mean not to wait at all, and fail in other words
    if deadline.passed:
        raise TimeoutError
    connection.settimeout(deadline.remaining)
