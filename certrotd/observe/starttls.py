"""From a plain connection to the point where TLS begins, for protocols that start without it."""

from __future__ import annotations

import socket
import struct
from typing import Literal

from certrotd.clock import Deadline
from certrotd.errors import Transient

Protocol = Literal["smtp", "imap", "postgres"]
MAX_LINE = 4096
MAX_LINES = 64


def upgrade(connection: socket.socket, protocol: Protocol, *, deadline: Deadline) -> None:
    """Speak ``protocol`` until the server is ready for a TLS handshake.

    RFC 3207 (smtp), RFC 9051 §6.2.1 (imap), PostgreSQL's SSLRequest (postgres). Raises Transient
    when the server declines; OSError passes, and TimeoutError at the deadline.
    """
    speak = {"smtp": _smtp, "imap": _imap, "postgres": _postgres}[protocol]
    speak(_Server(connection, deadline))


class _Server:
    """The other side, read a byte at a time: what follows a line belongs to TLS."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def send(self, data: bytes) -> None:
        self._limit()
        self._connection.sendall(data)

    def byte(self) -> bytes:
        self._limit()
        byte = self._connection.recv(1)
        if not byte:
            raise Transient("the server closed the connection before TLS began")
        return byte

    def line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            if len(line) == MAX_LINE:
                raise Transient(f"the server sent a line of more than {MAX_LINE} bytes before TLS")
            line += self.byte()
        return line.decode("ascii", "replace").rstrip("\r\n")

    def _limit(self) -> None:
        # the timeout of a socket is for each call: a server that drips must not be waited for
        if self._deadline.passed:
            raise TimeoutError
        self._connection.settimeout(self._deadline.remaining)


def _smtp(server: _Server) -> None:
    _expect(_reply(server), "220")
    server.send(b"EHLO certrotd.invalid\r\n")
    _expect(_reply(server), "250")
    server.send(b"STARTTLS\r\n")
    _expect(_reply(server), "220")


def _imap(server: _Server) -> None:
    _expect(server.line(), "* OK")
    server.send(b"a1 STARTTLS\r\n")
    for _ in range(MAX_LINES):
        line = server.line()
        if line.startswith("a1 "):
            _expect(line, "a1 OK")
            return
    raise Transient("the IMAP server did not answer STARTTLS")


def _postgres(server: _Server) -> None:
    server.send(struct.pack("!ii", 8, 80877103))
    if server.byte() != b"S":
        raise Transient("the PostgreSQL server offers no TLS", hint="set ssl = on")


def _reply(server: _Server) -> str:
    # every line of an SMTP reply but the last has a hyphen after its code (RFC 5321 §4.2.1)
    for _ in range(MAX_LINES):
        line = server.line()
        if not (line[:3].isdecimal() and line[3:4] == "-"):
            return line
    raise Transient("the SMTP server's reply does not end")


def _expect(line: str, prefix: str) -> None:
    if not line.startswith(prefix):
        raise Transient(f"the server answered {line!r} where {prefix} was expected")
