"""From a plain connection to the point where TLS begins, for protocols that start without it."""

from __future__ import annotations

import re
import socket
import struct
from xml.sax.saxutils import quoteattr

from certrotd.address import StartTls
from certrotd.clock import Deadline
from certrotd.errors import Transient

MAX_LINE = 4096
MAX_LINES = 64
MAX_MESSAGE = 65_536

_CLIENT_PROTOCOL_41, _CLIENT_SSL, _CLIENT_SECURE_CONNECTION = 0x200, 0x800, 0x8000
_START_TLS = b"1.3.6.1.4.1.1466.20037"
_LDAP_ANSWER = re.compile(
    # Active Directory writes every length in four bytes more, however short it is
    rb"\x02\x01\x01\x78(?:[\x00-\x7f]|\x81.|\x82..|\x83.{3}|\x84.{4})\x0a\x01(.)",
    re.DOTALL,
)


def upgrade(
    connection: socket.socket, protocol: StartTls, name: str, *, deadline: Deadline
) -> None:
    """Speak ``protocol`` until the server is ready for a TLS handshake; XMPP asks for ``name``.

    RFC 3207 (smtp), RFC 9051 §6.2.1 (imap), RFC 2595 §4 (pop3), RFC 4511 §4.14 (ldap), RFC 6120 §5
    (xmpp), PostgreSQL's SSLRequest (postgres) and MySQL's (mysql). Raises Transient when the server
    declines; OSError passes, and TimeoutError at the deadline.
    """
    server = _Server(connection, deadline)
    match protocol:
        case "smtp":
            _smtp(server)
        case "imap":
            _imap(server)
        case "pop3":
            _pop3(server)
        case "ldap":
            _ldap(server)
        case "postgres":
            _postgres(server)
        case "mysql":
            _mysql(server)
        case "xmpp":
            _xmpp(server, name)


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

    def bytes(self, number: int) -> bytes:
        return b"".join(self.byte() for _ in range(number))

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


def _pop3(server: _Server) -> None:
    _expect(server.line(), "+OK")
    server.send(b"STLS\r\n")
    _expect(server.line(), "+OK")


def _ldap(server: _Server) -> None:
    name = b"\x80" + bytes([len(_START_TLS)]) + _START_TLS
    request = b"\x02\x01\x01" + b"\x77" + bytes([len(name)]) + name
    server.send(b"\x30" + bytes([len(request)]) + request)
    answer = _element(server, b"\x30")
    # the message's number, then an ExtendedResponse that begins with a result code
    found = _LDAP_ANSWER.match(answer)
    if found is None:
        raise Transient("the server's answer is no LDAP")
    if code := found[1][0]:
        raise Transient(f"the LDAP server declines STARTTLS: result code {code} (RFC 4511 §4.1.9)")


def _element(server: _Server, tag: bytes) -> bytes:
    """The content of an element in BER."""
    if server.byte() != tag:
        raise Transient("the server's answer is no LDAP")
    length = server.byte()[0]
    if length > 0x80:
        length = int.from_bytes(server.bytes(min(length - 0x80, 4)))
    if length > MAX_MESSAGE:
        raise Transient(f"the server sent more than {MAX_MESSAGE} bytes before TLS")
    return server.bytes(length)


def _mysql(server: _Server) -> None:
    # https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
    head = server.bytes(4)
    length = int.from_bytes(head[:3], "little")
    if length > MAX_MESSAGE:
        raise Transient("the server's greeting is none of MySQL")
    greeting = server.bytes(length)
    if greeting[:1] == b"\xff":
        words = greeting[3:].decode("ascii", "replace")
        raise Transient(f"the MySQL server refuses the connection: {words!r}")
    version, _, rest = greeting[1:].partition(b"\0")
    if greeting[:1] != b"\x0a" or len(rest) < 15:  # thread, salt, a filler, capabilities
        raise Transient("the server's greeting is none of MySQL")
    if not int.from_bytes(rest[13:15], "little") & _CLIENT_SSL:
        shown = version.decode("ascii", "replace")
        raise Transient(f"the MySQL server {shown!r} offers no TLS", hint="set ssl_cert, ssl_key")
    wanted = _CLIENT_PROTOCOL_41 | _CLIENT_SSL | _CLIENT_SECURE_CONNECTION
    body = struct.pack("<IIB23x", wanted, 2**24 - 1, 45)
    server.send(struct.pack("<I", len(body))[:3] + bytes([head[3] + 1 & 0xFF]) + body)


def _xmpp(server: _Server, name: str) -> None:
    stream = (
        f"<?xml version='1.0'?><stream:stream to={quoteattr(name)} version='1.0' "
        "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    server.send(stream.encode())
    offered = _until(server, b"</stream:features>", b"<stream:features/>", b"</stream:stream>")
    if b"urn:ietf:params:xml:ns:xmpp-tls" not in offered:
        raise Transient("the XMPP server offers no TLS", hint="is its host one that it serves?")
    server.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    if b"<proceed" not in _until(server, b"<proceed", b"<failure", b"</stream:stream>"):
        raise Transient("the XMPP server declines STARTTLS")


def _until(server: _Server, *tags: bytes) -> bytes:
    """What the server says up to the first of these tags of XML."""
    said = b""
    while not (said.endswith(b">") and said[said.rfind(b"<") :].startswith(tags)):
        if len(said) == MAX_MESSAGE:
            raise Transient(f"the server sent more than {MAX_MESSAGE} bytes before TLS")
        said += server.byte()
    return said


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
