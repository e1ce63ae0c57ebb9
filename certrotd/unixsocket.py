"""A stream socket that listens at a path in the file system."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from certrotd.errors import NeedsOperator, Transient

TIMEOUT = 1.0
"""So long, in seconds, whoever listens at the path has to answer."""


def listening(path: Path, *, mode: int, backlog: int) -> socket.socket:
    """A socket that listens at ``path``, which has that mode before anybody can connect.

    Raises Transient where another process listens there, NeedsOperator where nobody can.
    """
    make_room(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        os.chmod(path, mode)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:  # somebody was quicker
            raise taken(path) from None
        raise _refused(path, error) from None
    return listener


def make_room(path: Path) -> None:
    """Remove a socket that nobody listens at: a crash left it. Anything else is left alone.

    Raises as listening().
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(path, error) from None
    if not stat.S_ISSOCK(found.st_mode):
        raise NeedsOperator(
            f"cannot listen at unix:{path}: there is something that is no socket",
            hint="move it away, or choose another path",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(TIMEOUT)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            pass
        except OSError:  # its backlog is full, say: somebody is there
            raise taken(path) from None
        else:
            raise taken(path)
    try:
        os.unlink(path)
    except OSError as error:
        raise _refused(path, error) from None


def taken(path: Path) -> Transient:
    """Another process has the place."""
    return Transient(f"unix:{path} is taken by another process", hint="stop one of the two")


def _refused(path: Path, error: OSError) -> NeedsOperator:
    why = os.strerror(error.errno) if error.errno else str(error)  # its words say where again
    return NeedsOperator(f"cannot listen at unix:{path}: {why}")
