"""The way to the CA: https alone, bounded, and trusting only who it should."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certrotd.acme.reach import AllowedUrls
from certrotd.acme.transport import Transport, check_url
from certrotd.clock import Deadline, ManualClock
from certrotd.dial import Timeout
from certrotd.errors import NeedsOperator
from certrotd.https.client import MAX_KEPT, MAX_RESPONSE, Lost
from certrotd.pki.roots import trust
from tests.builders import soon
from tests.parts import pki
from tests.unit.acme.scripted import Reply, ScriptedCA

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def transport(ca: ScriptedCA, *, proxy: bool = False) -> Transport:
    return plain(ca.url, trust(ca.ca_file), proxy=proxy)


def plain(url: str, context: ssl.SSLContext | None = None, *, proxy: bool = False) -> Transport:
    """One for the CA whose directory is there; by default it trusts the machine's roots."""
    context = context or trust(None)
    reach = AllowedUrls(url)
    return Transport(context, request_timeout=30.0, agent="certrotd/test", reach=reach, proxy=proxy)


def connected(ca: ScriptedCA, *, request_timeout: float) -> Transport:
    """One that has a connection: what a request may take is all for its answer."""
    sender = transport(ca)
    sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    sender._request_timeout = request_timeout
    return sender


def get(
    ca: ScriptedCA, path: str = "/directory", *, within: float = 60.0, proxy: bool = False
) -> bytes:
    sender = transport(ca, proxy=proxy)
    answer = sender.exchange("GET", ca.base + path, body=None, headers={}, deadline=soon(within))
    return answer.content


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://ca.example/directory", "needs https"),
        ("HTTP://ca.example/directory", "needs https"),
        ("ftp://ca.example/", "needs https"),
        ("file:///etc/passwd", "needs https"),
        ("//ca.example/", "needs https"),
        ("", "needs https"),
        ("https:///directory", "it has no host"),
        ("https://ca.example:0/", "no usable port"),
        ("https://ca.example:x/", "it is not a URL"),
        ("https://[::1/", "it is not a URL"),
        ("https://user:secret@ca.example/", "a user name or a password"),
        ("https://ca.example/\r\nHost: x", "a character that no URL may have"),
        ("https://ca.example/\x00", "a character that no URL may have"),
        ("https://c\u00e4.example/", "a character that no URL may have"),
        ("https://ca.example/a b", "a character that no URL may have"),
        ("https://ca.example/" + "x" * 5000, "longer than 4,096 characters"),
    ],
)
def test_a_url_that_is_not_plain_https_is_refused_for_what_is_wrong(url: str, why: str) -> None:
    """RFC 8555 §6.1; a directory over http was CVE-2025-54799."""
    with pytest.raises(NeedsOperator, match=why):
        check_url(url)


def test_an_https_url_gives_its_host_and_port() -> None:
    """The negative control."""
    assert check_url("https://CA.example:14000/dir") == "ca.example:14000"
    assert check_url("https://[::1]:14000/dir") == "[::1]:14000"


def test_a_redirect_is_not_followed(ca: ScriptedCA) -> None:
    """It could lead to http, or sign a request for somebody else's URL."""
    ca.on("/directory", Reply(302, b"", {"Location": f"{ca.base}/nonce"}))
    with pytest.raises(NeedsOperator, match=r"redirects .*/directory to .*/nonce"):
        get(ca)
    assert ca.asked("/nonce") == 0
    assert b"newOrder" in get(ca)


def test_an_answer_beyond_a_mebibyte_is_refused(ca: ScriptedCA) -> None:
    """Memory is not the CA's to fill."""
    ca.on("/directory", Reply(body=b"x" * (MAX_RESPONSE + 1)), Reply(body=b"x" * MAX_RESPONSE))
    with pytest.raises(NeedsOperator, match="more than 1048576 bytes"):
        get(ca)
    assert len(get(ca)) == MAX_RESPONSE


def test_an_answer_compressed_unasked_is_none(ca: ScriptedCA) -> None:
    """A kilobyte of gzip makes a megabyte; plain content is what was asked for."""
    packed = Reply(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    ca.on("/directory", packed, Reply(body=b"{}"))
    with pytest.raises(Lost, match="encoding 'gzip', unasked"):
        get(ca)
    assert get(ca) == b"{}"


def test_a_slow_answer_ends_with_the_request_timeout(ca: ScriptedCA) -> None:
    """One silent CA must not hold a thread."""
    given_up = threading.Event()
    sender, deadline = connected(ca, request_timeout=0.3), soon()
    ca.on("/directory", Reply(after=given_up))
    with pytest.raises(Lost, match="did not answer: timed out") as lost:
        sender.exchange("GET", ca.url, body=None, headers={}, deadline=deadline)
    given_up.set()
    assert lost.value.sent


def test_a_passed_deadline_sends_nothing(ca: ScriptedCA) -> None:
    """The time is the rotation's, not the CA's."""
    with pytest.raises(Lost, match="no time is left") as lost:
        get(ca, within=0.0)
    assert not lost.value.sent
    assert ca.seen == []


def test_a_refused_connection_was_not_sent() -> None:
    """This is what may be repeated even for a new order."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, and nobody listens
        url = f"https://127.0.0.1:{unused.getsockname()[1]}/"
        sender = plain(url)
        with pytest.raises(Lost, match="did not answer: Connection refused") as lost:
            sender.exchange("GET", url, body=None, headers={}, deadline=soon())
    assert not lost.value.sent


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN])
def test_a_name_that_does_not_resolve_is_reported(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error in the directory, or no network."""

    def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(number, "says the resolver")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    sender = plain("https://ca.invalid/")
    with pytest.raises(Lost, match="its name does not resolve") as lost:
        sender.exchange("GET", "https://ca.invalid/", body=None, headers={}, deadline=soon())
    assert not lost.value.sent


def test_a_host_that_is_none_is_reported() -> None:
    """It cannot be resolved, and trying again cannot help."""
    url = f"https://{'x' * 70}.example/"
    sender = plain(url)
    with pytest.raises(NeedsOperator, match="there is no way to the CA at x"):
        sender.exchange("GET", url, body=None, headers={}, deadline=soon())


def test_a_cut_connection_may_have_been_sent(ca: ScriptedCA) -> None:
    """The CA may have acted before its answer was lost."""
    ca.on("/directory", Reply(cut=True))
    with pytest.raises(Lost, match="did not answer") as lost:
        get(ca)
    assert lost.value.sent


def test_a_truncated_answer_is_not_taken_for_complete(ca: ScriptedCA) -> None:
    """Half a certificate chain parses as a shorter chain."""
    ca.on("/directory", Reply(body=b"{}", headers={"Content-Length": "100", "Connection": "close"}))
    with pytest.raises(Lost):
        get(ca)


@pytest.mark.parametrize("said", [True, False], ids=["with an end", "without"])
def test_an_answer_up_to_the_end_is_complete_only_if_tls_says_so(
    ca: ScriptedCA, tmp_path: Path, said: bool
) -> None:
    """Anybody on the way can cut a connection, but not say so in TLS (RFC 9112 §9.8)."""
    pair = pki.make_leaf(ca.root, "127.0.0.1").write(tmp_path, "short")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)

    def serve() -> None:
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as answering:
            answering.recv(65536)
            answering.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf a chain")
            if said:
                with contextlib.suppress(OSError):  # it does not wait for the client's end
                    answering.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        sender = transport(ca)
        if said:
            answer = sender.exchange("GET", url, body=None, headers={}, deadline=soon())
            assert answer.content == b"half a chain"
        else:
            with pytest.raises(Lost, match=r"(?i)eof") as lost:
                sender.exchange("GET", url, body=None, headers={}, deadline=soon())
            assert lost.value.sent


def test_a_request_is_not_sent_when_connecting_used_up_the_time(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new order whose answer nobody waits for would be spent in vain."""
    clock = ManualClock(NOW)
    sender = transport(ca)
    connected = sender._client._connected

    def slowly(url: str, host: str, timeout: Timeout) -> object:
        connection = connected(url, host, timeout)
        clock.sleep(seconds)
        return connection

    monkeypatch.setattr(sender._client, "_connected", slowly)
    seconds = 9.0
    with pytest.raises(Lost, match="no time is left") as lost:
        sender.exchange("GET", ca.url, body=None, headers={}, deadline=Deadline(clock, 9.0))
    assert not lost.value.sent
    assert ca.seen == []
    seconds = 1.0
    sender.exchange("GET", ca.url, body=None, headers={}, deadline=Deadline(clock, 9.0))
    assert ca.asked("/directory") == 1


def test_a_foreign_ca_bundle_is_not_trusted_whatever_the_environment_says(
    ca: ScriptedCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests lets REQUESTS_CA_BUNDLE override an explicit bundle; that must not happen here."""
    other = tmp_path / "other.pem"
    other.write_bytes(pki.make_root("another root").fullchain_pem)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(ca.ca_file))
    sender = plain(ca.url, trust(other))
    with pytest.raises(NeedsOperator, match=r"is not trusted: .*local issuer") as failure:
        sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    assert "ca_bundle" in failure.value.hint

    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(other))
    assert b"newOrder" in get(ca)


def test_an_explicit_bundle_is_trusted_alone(ca: ScriptedCA) -> None:
    """Neither certifi's roots nor the machine's join it, not even after a request."""
    context = trust(ca.ca_file)
    sender = plain(ca.url, context)
    sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    assert len(context.get_ca_certs()) == 1


def test_the_machines_roots_are_the_default(
    ca: ScriptedCA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A company's root in the system store is trusted; without a store, certifi's are."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.ca_file))
    sender = plain(ca.url)
    assert sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon()).ok

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    assert len(trust(None).get_ca_certs()) > 50


@pytest.mark.parametrize("content", [b"", b"not a certificate"])
def test_a_bundle_without_certificates_is_reported(tmp_path: Path, content: bytes) -> None:
    """Before an order is spent, and by its path."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(content)
    with pytest.raises(NeedsOperator, match=r"bundle\.pem holds no certificate"):
        trust(bundle)


def test_a_missing_bundle_is_reported(tmp_path: Path) -> None:
    """The path may be misspelt."""
    with pytest.raises(NeedsOperator, match="cannot be read: No such file"):
        trust(tmp_path / "missing.pem")


def test_connections_are_kept(ca: ScriptedCA) -> None:
    """A TLS handshake costs more than a request."""
    sender = transport(ca)
    for _ in range(5):
        sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    assert ca.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew(ca: ScriptedCA) -> None:
    """Servers close what is idle; a new order must not be the request that finds out."""
    ca.on("/directory", Reply(), Reply(body={"second": True}))
    sender = transport(ca)
    sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    [kept] = sender._client._connections.values()
    kept.shutdown(socket.SHUT_WR)  # which the server answers with the same
    assert select.select([kept], [], [], 60.0)[0]
    answer = sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    assert answer.json() == {"second": True}
    assert ca.connections == 2


def test_an_answer_that_says_close_is_the_last_of_its_connection(ca: ScriptedCA) -> None:
    """The negative control is test_connections_are_kept."""
    ca.on("/directory", Reply(headers={"Connection": "close"}))
    sender = transport(ca)
    for _ in range(2):
        sender.exchange("GET", ca.url, body=None, headers={}, deadline=soon())
    assert ca.connections == 2


def test_the_connections_kept_are_few(ca: ScriptedCA) -> None:
    """A CA that names a new host with every order must not use up the files of the process."""
    client = transport(ca)._client
    for number in range(MAX_KEPT + 2):
        made = client._connected(ca.url, ca.base, Timeout(soon()))
        client._keep(f"host{number}", made, final=False)
    assert len(client._connections) == MAX_KEPT


def test_an_answer_that_drips_ends_with_the_request_timeout(ca: ScriptedCA) -> None:
    """A byte now and then satisfies every socket timeout and would last for days."""
    sender = connected(ca, request_timeout=9.0)
    ca.on("/directory", Reply(body=b"x" * 50, drip=0.1))
    deadline = Deadline(_Looked(NOW), 60.0)
    with pytest.raises(Lost, match="did not finish its answer in time"):
        sender.exchange("GET", ca.url, body=None, headers={}, deadline=deadline)
    assert deadline.remaining > 40.0


class _Looked(ManualClock):
    """A second passes with every look at it."""

    def monotonic(self) -> float:
        self.sleep(1.0)
        return super().monotonic()
