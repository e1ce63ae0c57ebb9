"""StartTlss that start in plain text reach TLS, or say in time why they do not."""

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from typing import get_args

import pytest

from certrotd.address import StartTls
from certrotd.clock import Deadline, SystemClock
from certrotd.errors import Transient
from certrotd.observe.starttls import MAX_LINE, MAX_LINES, MAX_MESSAGE, upgrade
from certrotd.observe.tls import Endpoint, TlsProber
from certrotd.pki.facts import fingerprint
from tests.parts import pki
from tests.parts.listener import Listener
from tests.unit.observe.servers import context_of

NAME = "mail.example.test"
PAIR = pki.make_leaf(pki.make_root(), NAME)
PROBER = TlsProber(SystemClock())
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with the pair."""
    return context_of(PAIR, tmp_path_factory.mktemp("starttls"))


def scripted(script: Sequence[bytes], then: ssl.SSLContext | None = None) -> Listener:
    """A server that says what is given, and reads what begins with b"<" in between.

    It goes on with TLS where there is a context, else closes the connection.
    """

    def serve(connection: socket.socket) -> None:
        for line in script:
            if not line.startswith(b"<"):
                connection.sendall(line)
                continue
            wanted = line[1:]
            assert connection.recv(len(wanted), socket.MSG_WAITALL) == wanted
        if then is not None:
            with then.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)

    return Listener(serve)


def look(server: Listener, protocol: StartTls) -> str:
    """The fingerprint behind STARTTLS."""
    endpoint = Endpoint(server.host, server.port, NAME, starttls=protocol)
    return PROBER.look(endpoint).fingerprint


LDAP_REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"
LDAP_DONE = b"\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
MYSQL_REQUEST = b"\x20\0\0\x01" + struct.pack("<IIB23x", 0x8A00, 2**24 - 1, 45)
XMPP = (
    b"<<?xml version='1.0'?><stream:stream to=\"mail.example.test\" version='1.0' "
    b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)
XMPP_OFFER = (
    b" <?xml version='1.0'?><stream:stream id='1'><stream:features><starttls "
    b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
)
XMPP_STARTTLS = b"<<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
XMPP_TOO = (
    b" <stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
)


def greeting(capabilities: int, version: bytes = b"11.4.2-MariaDB") -> bytes:
    """What a MySQL server begins with."""
    said = b"\x0a" + version + b"\0" + bytes(13) + struct.pack("<H", capabilities) + bytes(13)
    return struct.pack("<I", len(said)) + said


EHLO = b"<EHLO certrotd.invalid\r\n"
STARTTLS = b"<STARTTLS\r\n"
GOOD: dict[str, tuple[StartTls, list[bytes]]] = {
    "smtp": (
        "smtp",
        [b"220 mx ESMTP\r\n", EHLO, b"250 STARTTLS\r\n", STARTTLS, b"220 go ahead\r\n"],
    ),
    "smtp in many lines": (
        "smtp",
        [
            b"220-mx\r\n220-no spam\r\n220 ESMTP\n",
            EHLO,
            b"250-mx\r\n250-SIZE 1\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
            STARTTLS,
            b"220 \r\n",
        ],
    ),
    "imap": ("imap", [b"* OK ready\r\n", b"<a1 STARTTLS\r\n", b"a1 OK begin TLS\r\n"]),
    "imap with more to say": (
        "imap",
        [b"* OK [CAPABILITY STARTTLS]\r\n", b"<a1 STARTTLS\r\n", b"* BYE not\r\n", b"a1 OK\r\n"],
    ),
    "postgres": ("postgres", [b"<" + SSL_REQUEST, b"S"]),
    "pop3": ("pop3", [b"+OK ready\r\n", b"<STLS\r\n", b"+OK\r\n"]),
    "ldap": ("ldap", [b"<" + LDAP_REQUEST, b"\x30\x0c" + LDAP_DONE]),
    "ldap in a long form": (
        "ldap",
        [
            b"<" + LDAP_REQUEST,
            b"\x30\x84\0\0\0\x0d" + LDAP_DONE.replace(b"\x78\x07", b"\x78\x81\x07"),
        ],
    ),
    "ldap of active directory": (
        "ldap",
        [
            b"<" + LDAP_REQUEST,
            b"\x30\x84\0\0\0\x10" + LDAP_DONE.replace(b"\x78\x07", b"\x78\x84\0\0\0\x07"),
        ],
    ),
    "mysql": ("mysql", [greeting(0x800), b"<" + MYSQL_REQUEST]),
    "xmpp": ("xmpp", [XMPP, XMPP_OFFER, XMPP_STARTTLS, b" <proceed xmlns='x'/>"]),
}


@pytest.mark.parametrize(("protocol", "script"), GOOD.values(), ids=GOOD)
def test_a_server_that_agrees_is_seen_over_tls(
    protocol: StartTls, script: list[bytes], context: ssl.SSLContext
) -> None:
    """The leaf behind it is the one that mail and database clients get."""
    with scripted(script, context) as server:
        assert look(server, protocol) == fingerprint(PAIR.certificate)


BAD: dict[str, tuple[StartTls, list[bytes], str]] = {
    "greeting": ("smtp", [b"554 no service\r\n"], "'554 no service' where 220 was expected"),
    "ehlo": ("smtp", [b"220 mx\r\n", EHLO, b"502 what\r\n"], "'502 what' where 250"),
    "declines": (
        "smtp",
        [b"220 mx\r\n", EHLO, b"250 mx\r\n", STARTTLS, b"454 not now\r\n"],
        "'454 not now' where 220",
    ),
    "closes at once": ("smtp", [], "closed the connection before TLS"),
    "closes in a line": ("smtp", [b"220 m"], "closed the connection before TLS"),
    "endless reply": ("smtp", [b"220-and\r\n" * (MAX_LINES + 1)], "reply does not end"),
    "endless line": ("smtp", [b"2" * (MAX_LINE + 1)], "a line of more than 4096 bytes"),
    "not smtp": ("smtp", [b"SSH-2.0-OpenSSH\r\n"], "'SSH-2.0-OpenSSH' where 220"),
    "hostile": ("smtp", [b"554 \x1b[31m\xff\x00\r\n"], r"where 220 was expected"),
    "bye": ("imap", [b"* BYE full\r\n"], "'\\* BYE full' where \\* OK was expected"),
    "authenticated": ("imap", [b"* PREAUTH hi\r\n"], "where \\* OK was expected"),
    "no": ("imap", [b"* OK\r\n", b"<a1 STARTTLS\r\n", b"a1 NO not here\r\n"], "'a1 NO not here'"),
    "bad": ("imap", [b"* OK\r\n", b"<a1 STARTTLS\r\n", b"a1 BAD what\r\n"], "'a1 BAD what'"),
    "endless": (
        "imap",
        [b"* OK\r\n", b"<a1 STARTTLS\r\n", b"* OK still here\r\n" * (MAX_LINES + 1)],
        "did not answer STARTTLS",
    ),
    "gone": ("imap", [b"* OK\r\n", b"<a1 STARTTLS\r\n"], "closed the connection before TLS"),
    "no tls": ("postgres", [b"<" + SSL_REQUEST, b"N"], "offers no TLS"),
    "error": ("postgres", [b"<" + SSL_REQUEST, b"E...."], "offers no TLS"),
    "pop3 greeting": ("pop3", [b"-ERR busy\r\n"], "'-ERR busy' where \\+OK was expected"),
    "pop3 declines": (
        "pop3",
        [b"+OK\r\n", b"<STLS\r\n", b"-ERR no\r\n"],
        "'-ERR no' where \\+OK",
    ),
    "ldap declines": (
        "ldap",
        [b"<" + LDAP_REQUEST, b"\x30\x0c" + LDAP_DONE.replace(b"\x0a\x01\0", b"\x0a\x01\x02")],
        "declines STARTTLS: result code 2",
    ),
    "no ldap": ("ldap", [b"<" + LDAP_REQUEST, b"HTTP"], "the server's answer is no LDAP"),
    "other ldap": ("ldap", [b"<" + LDAP_REQUEST, b"\x30\x02\x05\x00"], "answer is no LDAP"),
    "endless ldap": (
        "ldap",
        [b"<" + LDAP_REQUEST, b"\x30\x83\xff\xff\xff"],
        "more than 65536 bytes before TLS",
    ),
    "gone ldap": ("ldap", [b"<" + LDAP_REQUEST, b"\x30\x0c\x02"], "closed the connection before"),
    "mysql without tls": ("mysql", [greeting(0)], "'11.4.2-MariaDB' offers no TLS"),
    "mysql full": (
        "mysql",
        [b"\x0b\0\0\0\xff\x10\x04too many"],
        "refuses the connection: 'too many'",
    ),
    "no mysql": ("mysql", [b"HTTP/1.1 400"], "greeting is none of MySQL"),
    "short mysql": ("mysql", [b"\x03\0\0\0\x0a5\0"], "greeting is none of MySQL"),
    "old mysql": ("mysql", [b"\x03\0\0\0\x095\0"], "greeting is none of MySQL"),
    "gone mysql": ("mysql", [b"\x0b\0\0"], "closed the connection before"),
    "xmpp without tls": ("xmpp", [XMPP, b" <stream:features></stream:features>"], "offers no TLS"),
    "xmpp without anything": ("xmpp", [XMPP, b" <stream:features/>"], "offers no TLS"),
    "xmpp ends": (
        "xmpp",
        [XMPP, XMPP_TOO, XMPP_STARTTLS, b" <stream:error/></stream:stream>"],
        "declines STARTTLS",
    ),
    "xmpp of others": (
        "xmpp",
        [XMPP, b" <stream:error><host-unknown/></stream:error></stream:stream>"],
        "is its host one that it serves",
    ),
    "xmpp declines": (
        "xmpp",
        [XMPP, XMPP_TOO, XMPP_STARTTLS, b" <failure xmlns='x'/>"],
        "declines STARTTLS",
    ),
    "endless xmpp": ("xmpp", [XMPP, b"x" * (MAX_MESSAGE + 1)], "more than 65536 bytes before TLS"),
    "left": ("postgres", [b"<" + SSL_REQUEST], "closed the connection before TLS"),
}


@pytest.mark.parametrize(("protocol", "script", "why"), BAD.values(), ids=BAD)
def test_a_server_that_does_not_is_a_failure_in_its_own_words(
    protocol: StartTls, script: list[bytes], why: str
) -> None:
    """And bounded: whatever it says, and however long, there is one printable line of it."""
    with scripted(script) as server, pytest.raises(Transient, match=why) as failed:
        look(server, protocol)
    assert failed.value.message.isprintable()


def test_plain_text_before_tls_does_not_count_as_tls(context: ssl.SSLContext) -> None:
    """Plain text slipped in behind the answer must not be taken for the server's (RFC 3207 §6)."""
    protocol, script = GOOD["smtp"]
    injecting = scripted([*script[:-1], b"220 go\r\n250 injected\r\n"], context)
    with injecting as server, pytest.raises(Transient, match="no TLS handshake"):
        look(server, protocol)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("protocol", get_args(StartTls))
def test_a_silent_server_is_left_at_the_deadline(
    protocol: StartTls, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The wait is for the whole conversation, not for each byte of it."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        upgrade(pair[0], protocol, NAME, deadline=Deadline(SystemClock(), 0.2))
    assert 0.15 < time.monotonic() - began < 20
    with pytest.raises(TimeoutError):
        upgrade(pair[0], protocol, NAME, deadline=Deadline(SystemClock(), 0.0))


def test_bytes_behind_the_last_line_are_not_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """It belongs to TLS."""
    ours, theirs = pair
    theirs.sendall(b"* OK\r\na1 OK\r\n\x16\x03")
    upgrade(ours, "imap", NAME, deadline=Deadline(SystemClock(), 60.0))
    assert ours.recv(16) == b"\x16\x03"
