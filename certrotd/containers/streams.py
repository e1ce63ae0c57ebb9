"""What an engine sends of a program's output, and of a file: read as far as it is of use."""

from __future__ import annotations

import io
import select
import socket
import ssl
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

from certrotd.clock import Deadline
from certrotd.dial import ready

MAX_OUTPUT = 65_536
"""So many bytes of a program's output are kept, of its end."""
_PAUSE = 0.1
_LOOK = 0.02
_HEADER = 8  # bytes before each part of the output: its stream and its length


def exit_code(inspect: Callable[[], Mapping[str, Any]], deadline: Deadline) -> int:
    """That of a program, by what an engine says of it: its output may end before it does.

    Raises TimeoutError.
    """
    while True:
        found = inspect()
        if (code := found.get("ExitCode")) is not None and not found.get("Running"):
            return int(code)
        if deadline.passed:
            raise TimeoutError
        deadline.pause(_PAUSE)


def output_of(connection: Any, deadline: Deadline) -> bytes:
    """The end of what a program prints, from an exec's stream.

    Raises TimeoutError, and what the deadline's clock does once the process is told to stop.
    """
    said = b""
    while header := _exactly(connection, _HEADER, deadline):
        said += _exactly(connection, int.from_bytes(header[4:8], "big"), deadline)
        said = said[-MAX_OUTPUT:]
    return said


def _exactly(connection: socket.socket, number: int, deadline: Deadline) -> bytes:
    """So many bytes, or none at the end; of more than MAX_OUTPUT the end."""
    got, left = b"", number
    while left:
        while not (_read_ahead(connection) or ready(connection, select.POLLIN)):
            if deadline.passed:
                raise TimeoutError
            deadline.pause(_LOOK)
        if deadline.passed:
            raise TimeoutError
        connection.settimeout(deadline.remaining)
        part = connection.recv(min(left, MAX_OUTPUT))
        if not part:
            return b""
        got, left = (got + part)[-MAX_OUTPUT:], left - len(part)
    return got


def _read_ahead(connection: socket.socket) -> bool:
    """Whether TLS has bytes that the socket shows no more."""
    return isinstance(connection, ssl.SSLSocket) and connection.pending() > 0


def only_file(packed: bytes) -> bytes | None:
    """The regular file in an archive of one path; None where it is something else, or too large."""
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            members = [member for member in tar if member.isfile()]
            found = tar.extractfile(members[0]) if len(members) == 1 else None
            return found.read(MAX_OUTPUT + 1) if found else None
    except tarfile.TarError:
        return None
