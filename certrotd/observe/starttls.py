"""From a plain connection to the point where TLS begins, for protocols that start without it."""

from __future__ import annotations

import socket
import struct
from typing import Literal

from certrotd.errors import Transient

Protocol = Literal["smtp", "imap", "postgres"]
MAX_LINE = 4096
MAX_LINES = 64


def upgrade(connection: socket.socket, protocol: Protocol) -> None:
    """Speak ``protocol`` until the server is ready for a TLS handshake.

    RFC 3207 (smtp), RFC 9051 §6.2.1 (imap), PostgreSQL's SSLRequest (postgres). Raises Transient
    when the server declines; OSError passes.
    """
    match protocol:
        case "smtp":
            _smtp(connection)
        case "imap":
            _imap(connection)
        case "postgres":
            _postgres(connection)


def _smtp(connection: socket.socket) -> None:
    _expect(_reply(connection), "220")
    connection.sendall(b"EHLO certrotd.invalid\r\n")
    _expect(_reply(connection), "250")
    connection.sendall(b"STARTTLS\r\n")
    _expect(_reply(connection), "220")


def _imap(connection: socket.socket) -> None:
    _expect(_line(connection), "* OK")
    connection.sendall(b"a1 STARTTLS\r\n")
    for _ in range(MAX_LINES):
        line = _line(connection)
        if line.startswith("a1 "):
            _expect(line, "a1 OK")
            return
    raise Transient("the IMAP server did not answer STARTTLS")


def _postgres(connection: socket.socket) -> None:
    connection.sendall(struct.pack("!ii", 8, 80877103))
    answer = connection.recv(1)
    if answer != b"S":
        raise Transient("the PostgreSQL server offers no TLS", hint="set ssl = on")


def _reply(connection: socket.socket) -> str:
    # the last line of an SMTP reply has a space after its code (RFC 5321 §4.2.1)
    for _ in range(MAX_LINES):
        line = _line(connection)
        if line[3:4] != "-":
            return line
    raise Transient("the SMTP server's reply does not end")


def _line(connection: socket.socket) -> str:
    # a byte at a time: what follows the line belongs to TLS
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) >= MAX_LINE:
            raise Transient("the server closed the connection before TLS began")
        line += byte
    return line.decode("ascii", "replace").rstrip("\r\n")


def _expect(line: str, prefix: str) -> None:
    if not line.startswith(prefix):
        raise Transient(f"the server answered {line!r} where {prefix} was expected")
