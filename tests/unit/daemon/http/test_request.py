"""Requests, and what is none, as they come over the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.daemon.http.connection import Connection
from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.response import Response

HOST = b"\r\nHost: localhost"


def asked(head: bytes, hosts: frozenset[str] | None = frozenset()) -> Request:
    """What a request asks for."""
    request = Connection(hosts).take(head + b"\r\n\r\n")
    assert request is not None
    return request


def status(head: bytes) -> int:
    """What a request is refused with."""
    with pytest.raises(RequestRefused) as caught:
        asked(head)
    return caught.value.status


def test_a_request_is_read() -> None:
    """Decoded once, the first of repeated parameters counts."""
    head = b"GET /page/a%20b?name=ex%C3%A4mple&name=2&state= HTTP/1.1" + HOST + b"\r\nAccept: */*"
    assert asked(head) == Request("/page/a b", {"name": "exämple"})
    assert asked(b"HEAD / HTTP/1.0") == Request("/")


def test_a_path_is_decoded_once_only() -> None:
    """What was checked is what is used."""
    assert asked(b"GET /%252e HTTP/1.0").path == "/%2e"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/2.0" + HOST,
        b"GET  / HTTP/1.1" + HOST,
        b"GET http://localhost/ HTTP/1.1" + HOST,
        b"GET * HTTP/1.1" + HOST,
        b"CONNECT localhost:443 HTTP/1.1" + HOST,
        b"GET /\x01 HTTP/1.1" + HOST,
        b"GET /%0a HTTP/1.1" + HOST,
        b"GET /%ff HTTP/1.1" + HOST,
        b"GET /" + b"a" * 3000 + b" HTTP/1.1" + HOST,
        b"GET /?a=%ff HTTP/1.1" + HOST,
        b"GET /?" + b"&".join([b"a=1"] * 20) + b" HTTP/1.1" + HOST,
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1" + HOST + HOST,
        b"GET / HTTP/1.0" + HOST + HOST,
        b"GET / HTTP/1.1\n" + HOST[2:],
        b"GET / HTTP/1.1" + HOST + b"\r\nbad header",
        b"GET / HTTP/1.1" + HOST + b"\r\n folded: yes",
        b"GET / HTTP/1.1\r\n folded: yes" + HOST,
        b"GET / HTTP/1.1" + HOST + b"\r\nX : a",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: \x00",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: \x1b[2J",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: \x7f",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\rEvil: b",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\nEvil: b",
        b"GET / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length: 3",
        b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length: x",
        b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length: 0\r\nContent-Length: 3",
    ],
)
def test_a_malformed_request_is_refused(head: bytes) -> None:
    """Leniency here is what request smuggling is made of."""
    assert status(head) == 400


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT", b"get"])
def test_a_request_that_could_change_anything_is_refused(method: bytes) -> None:
    """Read-only is a promise of the page."""
    assert status(method + b" / HTTP/1.1" + HOST) == 405


@pytest.mark.parametrize(
    "header",
    [b"Content-Length: 0", b"Expect: 100-continue", b"Upgrade: h2c", b"X: \x80\xff", b"X:\t a\t"],
)
def test_harmless_headers_are_accepted(header: bytes) -> None:
    """The control: strict is not fussy."""
    assert asked(b"GET / HTTP/1.1" + HOST + b"\r\n" + header).path == "/"


def test_a_body_that_cannot_be_understood_is_none_of_ours_either() -> None:
    """RFC 9112 §6.1 has a status for it."""
    assert status(b"GET / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: gzip") == 501


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9641", "localhost.", "127.0.0.1:9641", "[::1]:9641", "192.0.2.7",
     "status.example.com", "Status.Example.com:443"],
)  # fmt: skip
def test_our_own_names_and_addresses_are_answered(host: str) -> None:
    """An address is nobody's DNS name; the configured ones are the operator's."""
    head = f"GET / HTTP/1.1\r\nHost: {host}".encode()
    assert asked(head, frozenset({"status.example.com"})).path == "/"


@pytest.mark.parametrize(
    "host",
    ["evil.example.net", "localhost.evil.example.net", "127.0.0.1.evil.example.net", "",
     "localhost:x", "[::1", "status.example.com@evil.example.net", "127.0.0.1 evil"],
)  # fmt: skip
def test_other_names_are_refused(host: str) -> None:
    """DNS rebinding: a page elsewhere makes its own name lead to this machine, and reads it all."""
    assert status(f"GET / HTTP/1.1\r\nHost: {host}".encode()) == 421


def test_on_a_unix_socket_any_name_is_answered() -> None:
    """No browser gets there by itself, and proxies pass on the names they have."""
    assert asked(b"GET / HTTP/1.1\r\nHost: anything.example", None).path == "/"
    with pytest.raises(RequestRefused):
        asked(b"GET / HTTP/1.1", None)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_comes_is_a_request_or_refused_and_can_be_answered(data: bytes) -> None:
    """Anybody on the machine can send anything."""
    for head in (data, b"GET /" + data + b" HTTP/1.1" + HOST, b"GET / HTTP/1.0\r\n" + data):
        connection, status = Connection(frozenset()), 200
        try:
            found = connection.take(head + b"\r\n\r\n")
        except RequestRefused as refused:
            found, status = None, refused.status
        if found is not None:
            assert found.path.startswith("/")
            assert found.path.isprintable()
        assert (status == 200) == (found is not None)
        assert status in (200, 400, 405, 421, 501)
        answer = b"".join(connection.written(Response("said", status=status)))
        assert answer.startswith(b"HTTP/1.1 %d " % status)
