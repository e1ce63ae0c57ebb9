"""The socket the server listens on: an address, or a path in the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

from certrotd.address import Address
from certrotd.config.http import HttpEntry
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.unixsocket import listening, make_room

BACKLOG = 128


def place(entry: HttpEntry) -> str:
    """Where it listens, as people find it."""
    if isinstance(entry.listen, Address):
        return f"http://{entry.listen}/"
    return f"unix:{entry.listen}"


def listen(entry: HttpEntry) -> socket.socket:
    """A socket that listens where ``entry`` says.

    Raises Transient where another process has the place, NeedsOperator where nobody can have it.
    """
    where = entry.listen
    if isinstance(where, Path):
        return listening(where, mode=entry.mode, backlog=BACKLOG)
    try:
        return socket.create_server((where.host, where.port), family=where.family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Transient(f"{place(entry)} is taken by another process") from error
        why = os.strerror(error.errno) if error.errno else str(error)  # its words say where again
        raise NeedsOperator(f"cannot listen at {place(entry)}: {why}") from error


def clean_up(entry: HttpEntry) -> None:
    """Remove the path of a socket that has just been closed, unless a successor listens there."""
    if isinstance(entry.listen, Path):
        with contextlib.suppress(OSError, Failure):  # else the next start does
            make_room(entry.listen)
