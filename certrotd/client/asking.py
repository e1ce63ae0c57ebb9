"""One question to certrotd's socket."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from certrotd.client.errors import NotPermitted, SourceUnavailable
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.keyserver.wire import MAX_ANSWER, MAX_REQUEST, Refusal, frame, receive, send

_CREDENTIALS = struct.Struct("3i")


def ask(path: Path, request: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
    """The answer of the server at ``path``.

    Raises SourceUnavailable, NotPermitted, or NeedsOperator where the server is somebody else's.
    """
    data = frame(request, most=MAX_REQUEST)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.001, deadline.remaining))
            connection.connect(str(path))
            _trusted(connection, path)
            send(connection, data, deadline)
            answer = receive(connection, deadline, most=MAX_ANSWER)
    except PermissionError:
        raise NotPermitted(
            f"this process may not connect to unix:{path}",
            hint="put its user into the group of the socket",
        ) from None
    except (OSError, InvalidInput) as error:
        why = error.message if isinstance(error, InvalidInput) else error.strerror
        raise SourceUnavailable(
            f"unix:{path} does not answer: {why or 'not in time'}",
            hint="see that certrotd runs",
        ) from None
    if "refused" in answer:
        raise _refused(path, answer)
    return answer


def _trusted(connection: socket.socket, path: Path) -> None:
    """Raises NeedsOperator where neither root nor the owner of the directory serves there.

    Else anybody who can put a socket into it could hand out keys.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid = _CREDENTIALS.unpack(data)[1]
    if uid not in (0, os.geteuid(), os.stat(path.parent).st_uid):
        raise NeedsOperator(
            f"user {uid} serves at unix:{path}, whose directory belongs to somebody else",
            hint="no keys are taken from there: find out who put the socket there",
        )


def _refused(path: Path, answer: Mapping[str, Any]) -> Exception:
    why = str(answer.get("why"))[:500]
    if answer["refused"] == Refusal.FORBIDDEN:
        return NotPermitted(
            f"unix:{path}: {why}", hint="let the user read it in certrotd's configuration"
        )
    if answer["refused"] == Refusal.MALFORMED:
        return NeedsOperator(f"unix:{path}: {why}", hint="use client and server of one certrotd")
    return SourceUnavailable(f"unix:{path}: {why}", hint="see certrotd's log")
