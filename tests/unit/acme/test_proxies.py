"""Proxies: only when asked for, by name, and never for longer than a request may take."""

from __future__ import annotations

import errno
import http.client
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.dial import Timeout
from certrotd.errors import NeedsOperator
from certrotd.https.client import Lost
from certrotd.https.proxy import tunnel
from certrotd.pki.roots import trust
from tests.parts import pki
from tests.unit.acme.scripted import ScriptedCA
from tests.unit.acme.test_transport import get


class _Proxy(socketserver.StreamRequestHandler):
    """CONNECT and nothing else."""

    def handle(self) -> None:
        first = self.rfile.readline().decode().split()
        headers = http.client.parse_headers(self.rfile)
        self.server.asked.append((first[0], first[1], headers))  # type: ignore[attr-defined]
        host, port = first[1].rsplit(":", 1)
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection((host, int(port))) as upstream:
            back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
            back.start()
            _pump(self.connection, upstream)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def proxy() -> Iterator[socketserver.ThreadingTCPServer]:
    """A forwarding proxy that notes what it is asked."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Proxy)
    server.daemon_threads = True
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_proxy_of_the_environment_is_used_through_a_tunnel(
    ca: ScriptedCA, proxy: socketserver.ThreadingTCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers without a way out are common; the proxy sees the host's name alone."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@127.0.0.1:{proxy.server_address[1]}")
    assert b"newOrder" in get(ca, proxy=True)
    ((method, target, headers),) = proxy.asked  # type: ignore[attr-defined]
    assert (method, f"https://{target}") == ("CONNECT", ca.base)
    assert headers["Proxy-Authorization"].startswith("Basic ")

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert b"newOrder" in get(ca, proxy=True)
    assert len(proxy.asked) == 1  # type: ignore[attr-defined]


def test_the_proxy_of_the_environment_is_not_used_unasked(
    ca: ScriptedCA, proxy: socketserver.ThreadingTCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a password of ~/.netrc sent; who cannot do without the proxy is told of the option."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
    netrc = ca.ca_file.parent / "netrc"
    netrc.write_text("default login me password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert b"newOrder" in get(ca)
    assert not proxy.asked  # type: ignore[attr-defined]
    [seen] = ca.seen
    assert "Authorization" not in seen.headers
    assert seen.headers["User-Agent"] == "certrotd/test"
    monkeypatch.setattr("certrotd.https.client.connect", _refused)
    with pytest.raises(Lost) as failure:
        get(ca)
    assert failure.value.hint == "a proxy is used with use_proxy of the issuer"


def _refused(*_: object, **__: object) -> NoReturn:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_a_proxy_that_does_not_help_is_named(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the CA is looked at, which nobody ever reached; its password is left out."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hush@{where}")
        with pytest.raises(Lost) as failure:
            get(ca, proxy=True)
    assert f"(through the proxy {where}) did not answer: Connection refused" in str(failure.value)


def test_a_proxy_of_an_unknown_kind_is_reported(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going around it would not be what was asked for."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(NeedsOperator, match=r"no way to .*: its proxy speaks socks5"):
        get(ca, proxy=True)


@pytest.mark.parametrize(
    "proxy",
    ["http://me:hush@[::1", "http://me:hush@127.0.0.1:99999", "http://me:hush\u20ac@127.0.0.1:1"],
    ids=["address", "port", "password"],
)
def test_a_proxy_that_cannot_be_read_is_reported_without_its_password(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """What is said goes into logs and notifications; the address of a proxy may hold a secret."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(NeedsOperator, match=r"no way to .*: its proxy cannot be read") as failure:
        get(ca, proxy=True)
    assert "HTTPS_PROXY" in failure.value.hint
    assert "hush" not in str(failure.value)
    assert "20ac" not in str(failure.value)


def test_a_proxy_that_speaks_tls_itself_makes_a_tunnel(
    ca: ScriptedCA,
    proxy: socketserver.ThreadingTCPServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """TLS in TLS, of which each end is verified by its own roots."""
    root = pki.make_root("the proxy's root")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.make_leaf(root, "127.0.0.1").write(tmp_path, "proxy"))
    proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(root.fullchain_pem)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    assert b"newOrder" in get(ca, proxy=True)
    assert len(proxy.asked) == 1  # type: ignore[attr-defined]
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.ca_file))
    with pytest.raises(NeedsOperator, match="is not trusted"):
        get(ca, proxy=True)


Behave = Callable[[socket.socket], None]


@pytest.fixture
def odd() -> Iterator[Callable[[Behave], str]]:
    """Starts a proxy that does as it likes with its connection; gives its URL."""
    listeners = []

    def start(behave: Behave) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    behave(connection)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


def through(proxy: str, seconds: float) -> None:
    """Tries to reach somebody through it."""
    timeout = Timeout(Deadline(SystemClock(), seconds))
    tunnel(proxy, trust(None), "ca.example.test", 443, timeout).close()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_proxy_that_drips_does_not_outlast_the_deadline(
    odd: Callable[[Behave], str], head: bytes
) -> None:
    """A byte now and then satisfied a timeout of each read: in its answer, or in the handshake."""

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        if head.endswith(b"\r\n\r\n"):
            connection.recv(65536)  # its ClientHello, answered by a record of 16 KiB
            connection.sendall(b"\x16\x03\x03\x40\x00")
        while True:
            connection.sendall(b"H")
            time.sleep(0.05)

    began = time.monotonic()
    with pytest.raises(OSError, match=r"^$" if head else "no CONNECT"):
        through(odd(drip), 2.0)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 \x1b[2J\r\nContent-Length: 0\r\n\r\n", "no CONNECT|HTTP status 407"),
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "with HTTP status 407"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://169.254.169.254/\r\n\r\n", "HTTP status 302"),
        (b"<html>welcome</html>", "the proxy answers no CONNECT"),
        (b"SSH-2.0-x\r\n", "the proxy answers no CONNECT"),
        (b"", "the proxy answers no CONNECT"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000, "the proxy answers no CONNECT"),
        (b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 200_000, "the proxy answers no CONNECT"),
    ],
    ids=["escape", "login", "redirect", "page", "ssh", "nothing", "endless head", "endless page"],
)
def test_a_proxy_that_refuses_or_is_none_is_told_in_one_line(
    odd: Callable[[Behave], str], answer: bytes, why: str
) -> None:
    """And leads nowhere."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with pytest.raises(OSError, match=why) as failure:
        through(odd(refuse), 30.0)
    assert str(failure.value).isprintable()
