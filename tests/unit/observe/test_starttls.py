"""Protocols that start in plain text reach TLS, or say in time why they do not."""

import socket
import ssl
import time
from collections.abc import Iterator, Sequence

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.errors import Transient
from certrotd.observe.starttls import MAX_LINE, MAX_LINES, Protocol, upgrade
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


def look(server: Listener, protocol: Protocol) -> str:
    """The fingerprint behind STARTTLS."""
    endpoint = Endpoint(server.host, server.port, NAME, starttls=protocol)
    return PROBER.look(endpoint).fingerprint


EHLO = b"<EHLO certrotd.invalid\r\n"
STARTTLS = b"<STARTTLS\r\n"
GOOD: dict[str, tuple[Protocol, list[bytes]]] = {
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
}


@pytest.mark.parametrize(("protocol", "script"), GOOD.values(), ids=GOOD)
def test_a_server_that_agrees_is_seen_over_tls(
    protocol: Protocol, script: list[bytes], context: ssl.SSLContext
) -> None:
    """The leaf behind it is the one that mail and database clients get."""
    with scripted(script, context) as server:
        assert look(server, protocol) == fingerprint(PAIR.certificate)


BAD: dict[str, tuple[Protocol, list[bytes], str]] = {
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
    "left": ("postgres", [b"<" + SSL_REQUEST], "closed the connection before TLS"),
}


@pytest.mark.parametrize(("protocol", "script", "why"), BAD.values(), ids=BAD)
def test_a_server_that_does_not_is_a_failure_in_its_own_words(
    protocol: Protocol, script: list[bytes], why: str
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


@pytest.mark.parametrize("protocol", ["smtp", "imap", "postgres"])
def test_a_silent_server_is_left_at_the_deadline(
    protocol: Protocol, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The wait is for the whole conversation, not for each byte of it."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        upgrade(pair[0], protocol, deadline=Deadline(SystemClock(), 0.2))
    assert 0.15 < time.monotonic() - began < 20
    with pytest.raises(TimeoutError):
        upgrade(pair[0], protocol, deadline=Deadline(SystemClock(), 0.0))


def test_bytes_behind_the_last_line_are_not_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """It belongs to TLS."""
    ours, theirs = pair
    theirs.sendall(b"* OK\r\na1 OK\r\n\x16\x03")
    upgrade(ours, "imap", deadline=Deadline(SystemClock(), 60.0))
    assert ours.recv(16) == b"\x16\x03"
