"""The socket the server listens on: an address, or a path in the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from certrotd.address import Address
from certrotd.config.http import HttpEntry
from certrotd.errors import NeedsOperator, Transient

BACKLOG = 128
_TIMEOUT = 1.0


def place(entry: HttpEntry) -> str:
    """Where it listens, as people find it."""
    if isinstance(entry.listen, Address):
        return f"http://{entry.listen}/"
    return f"unix:{entry.listen}"


def listen(entry: HttpEntry) -> socket.socket:
    """A socket that listens where ``entry`` says.

    Raises Transient where another process has the place, NeedsOperator where nobody can have it.
    """
    try:
        if isinstance(entry.listen, Address):
            where = entry.listen
            return socket.create_server(
                (where.host, where.port), family=where.family, backlog=BACKLOG
            )
        return _at_path(entry.listen, entry.mode)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Transient(f"{place(entry)} is taken by another process") from error
        why = os.strerror(error.errno) if error.errno else str(error)  # its words say where again
        raise NeedsOperator(f"cannot listen at {place(entry)}: {why}") from error


def clean_up(entry: HttpEntry) -> None:
    """Remove the path of a socket that has just been closed, unless a successor listens there."""
    if isinstance(entry.listen, Path):
        with contextlib.suppress(OSError, NeedsOperator):  # else the next start does
            _make_room(entry.listen)


def _at_path(path: Path, mode: int) -> socket.socket:
    _make_room(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        os.chmod(path, mode)  # before listen() nobody can connect
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _make_room(path: Path) -> None:
    """Remove a socket that nobody listens at: a crash left it. Anything else is left alone."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise NeedsOperator(
            f"cannot listen at unix:{path}: there is something that is no socket",
            hint="move it away, or choose another path",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
