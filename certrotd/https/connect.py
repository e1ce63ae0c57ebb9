"""TLS on a connection that is open, and what is sent and received over one, within a deadline."""

from __future__ import annotations

import select
import socket
import ssl
from typing import Any

from certrotd.dial import SLICE, Timeout


def send(sock: Any, data: bytes, timeout: Timeout) -> None:
    """All of ``data``; raises OSError."""
    view = memoryview(data)
    while view:
        timeout.check()
        try:
            view = view[sock.send(view) :]
        except TimeoutError:
            continue


def receive(sock: Any, size: int, timeout: Timeout, *, begun: bool) -> bytes:
    """What has come, b"" at the end; ``begun``: more is probably there. Raises OSError."""
    while True:
        # what has come is taken: a server that sends a byte now and then cannot hold us longer
        # than the deadline and one wait of the socket
        if begun:
            timeout.check()
        else:
            timeout.wait(select.POLLIN, sock)
        try:
            data: bytes = sock.recv(size)
        except TimeoutError:  # a part of a TLS record came, or nothing
            continue
        return data


def secured(
    raw: socket.socket, host: str, context: ssl.SSLContext, timeout: Timeout
) -> ssl.SSLSocket:
    """TLS with ``host`` on an open connection, which is closed where that fails."""
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
            timeout.check()
            try:
                sock.do_handshake()
            except TimeoutError:
                continue
            return sock
    except BaseException:
        sock.close()
        raise
