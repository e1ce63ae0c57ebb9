"""TLS connections to a CA that end within seconds once the process is told to stop."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from urllib3.util.wait import wait_for_read, wait_for_write

from certrotd.clock import Deadline
from certrotd.dial import look_up
from certrotd.rotation.outcome import Stopped

SLICE = 0.5
GRACE = 3.0


class Patience:
    """How long one request may take: to its deadline, and for seconds more when told to stop.

    What has begun is better answered: a new order whose URL nobody heard is one in vain.
    """

    def __init__(self, limit: Deadline) -> None:
        self.limit = limit
        self._last: Deadline | None = None

    def check(self) -> None:
        """Raises TimeoutError when the time is over, Stopped when it is for that reason."""
        if self._last is None and self.limit.clock.stopping():
            self._last = Deadline(self.limit.clock, GRACE)
        if self._last is not None and self._last.passed:
            raise Stopped("the process was told to stop")
        if self.limit.passed:
            raise TimeoutError

    def begin(self) -> None:
        """Raises Stopped if the process has been told to stop: nothing new is begun then."""
        if self.limit.clock.stopping():
            raise Stopped("the process was told to stop")

    def wait(self, waits: Callable[..., bool], sock: Any) -> None:
        """Return when the socket is ready; raises what check() does."""
        while True:
            self.check()
            if waits(sock, timeout=min(SLICE, self.limit.remaining)):
                return


def connect(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    patience: Patience,
    permit: Callable[[Sequence[str]], None],
) -> ssl.SSLSocket:
    """TLS with the first address of ``host`` that takes a connection.

    ``permit`` raises unless its addresses may be asked. Raises OSError, Stopped.
    """
    found = look_up(host, port, socket.SOCK_STREAM, deadline=patience.limit)
    permit([str(address[0]) for *_, address in found])
    last: OSError = TimeoutError()
    for left, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        # one address that swallows packets must not use up the time of the others
        share = Patience(patience.limit.within(patience.limit.remaining / left))
        try:
            raw = _reached(socket.socket(family, kind, protocol), address, share)
        except OSError as error:
            last = error
            continue
        return _secured(raw, host, context, patience)
    try:
        raise last
    finally:
        del last  # it knows of this frame


def send(sock: Any, data: bytes, patience: Patience) -> None:
    """All of ``data``; raises OSError, Stopped."""
    view = memoryview(data)
    while view:
        patience.check()
        try:
            view = view[sock.send(view) :]
        except TimeoutError:
            continue


def receive(sock: Any, size: int, patience: Patience, *, begun: bool) -> bytes:
    """What has come, b"" at the end; ``begun``: more is probably there. Raises OSError, Stopped."""
    while True:
        # what has come is taken: a server that sends a byte now and then cannot hold us longer
        # than the deadline and one wait of the socket
        if begun:
            patience.check()
        else:
            patience.wait(wait_for_read, sock)
        try:
            data: bytes = sock.recv(size)
        except TimeoutError:  # a part of a TLS record came, or nothing
            continue
        return data


def _reached(raw: socket.socket, address: Any, patience: Patience) -> socket.socket:
    try:
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = raw.connect_ex(address)
        if error == errno.EINPROGRESS:
            patience.wait(wait_for_write, raw)
            error = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        raw.close()
        raise
    return raw


def _secured(
    raw: socket.socket, host: str, context: ssl.SSLContext, patience: Patience
) -> ssl.SSLSocket:
    try:
        # whoever cuts the connection cannot end an answer that goes up to its end (RFC 9112 §9.8)
        sock = context.wrap_socket(
            raw,
            server_hostname=host,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
    except BaseException:
        raw.close()
        raise
    try:
        # once: each time it is set the system is asked, and other threads get their turn
        sock.settimeout(SLICE)
        while True:
            patience.check()
            try:
                sock.do_handshake()
            except TimeoutError:
                continue
            return sock
    except BaseException:
        sock.close()
        raise
