"""Requests, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.daemon.web.request import MAX_HEADERS, Refused, Request, parse_request

HOST = b"\r\nHost: localhost"


def status(head: bytes, hosts: frozenset[str] | None = frozenset()) -> int:
    """What a request is refused with."""
    with pytest.raises(Refused) as caught:
        parse_request(head, hosts)
    return caught.value.status


def test_a_request_is_read() -> None:
    """Decoded once, the first of repeated parameters counts."""
    head = b"GET /c/a%20b?name=ex%C3%A4mple&name=2&state= HTTP/1.1" + HOST + b"\r\nAccept: */*"
    assert parse_request(head, frozenset()) == Request(
        "/c/a b", {"name": "exämple"}, head=False, chunks=True
    )
    assert parse_request(b"HEAD / HTTP/1.0", frozenset()) == Request("/", {}, True, False)


def test_a_path_is_decoded_once_only() -> None:
    """What was checked is what is used."""
    assert parse_request(b"GET /%252e HTTP/1.0", None).path == "/%2e"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/2.0" + HOST,
        b"GET  / HTTP/1.1" + HOST,
        b"get / HTTP/1.1" + HOST,
        b"GET http://localhost/ HTTP/1.1" + HOST,
        b"GET /\x01 HTTP/1.1" + HOST,
        b"GET /%0a HTTP/1.1" + HOST,
        b"GET /%ff HTTP/1.1" + HOST,
        b"GET /" + b"a" * 3000 + b" HTTP/1.1" + HOST,
        b"GET /?a=%ff HTTP/1.1" + HOST,
        b"GET /?" + b"&".join([b"a=1"] * 20) + b" HTTP/1.1" + HOST,
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1" + HOST + HOST,
        b"GET / HTTP/1.1" + HOST + b"\r\nbad header",
        b"GET / HTTP/1.1" + HOST + b"\r\n folded: yes",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: \x00",
        b"GET / HTTP/1.1" + HOST + b"\r\nX: a\nEvil: b",
        b"GET / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1" + HOST + b"\r\nContent-Length: 3",
    ],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    """Leniency here is what request smuggling is made of."""
    assert status(head) == 400


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"])
def test_nothing_can_be_changed(method: bytes) -> None:
    """Read-only is a promise of the page."""
    assert status(method + b" / HTTP/1.1" + HOST) == 405


def test_too_many_headers_are_refused() -> None:
    """And as many as a browser sends are not."""
    head = b"GET / HTTP/1.1" + HOST
    assert parse_request(head + b"\r\nX: y" * (MAX_HEADERS - 1), None).path == "/"
    assert status(head + b"\r\nX: y" * MAX_HEADERS) == 431


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9641", "localhost.", "127.0.0.1:9641", "[::1]:9641", "192.0.2.7",
     "status.example.com", "Status.Example.com:443"],
)  # fmt: skip
def test_our_own_names_and_addresses_are_answered(host: str) -> None:
    """An address is nobody's DNS name; the configured ones are the operator's."""
    head = f"GET / HTTP/1.1\r\nHost: {host}".encode()
    assert parse_request(head, frozenset({"status.example.com"})).path == "/"


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
    assert parse_request(b"GET / HTTP/1.1\r\nHost: anything.example", None).path == "/"
    with pytest.raises(Refused):
        parse_request(b"GET / HTTP/1.1", None)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_comes_is_a_request_or_refused(data: bytes) -> None:
    """Anybody on the machine can send anything."""
    for head in (data, b"GET /" + data + b" HTTP/1.1" + HOST, b"GET / HTTP/1.0\r\n" + data):
        try:
            found: Request | int = parse_request(head, frozenset())
        except Refused as refused:
            found = refused.status
        if isinstance(found, Request):
            assert found.path.startswith("/")
            assert found.path.isprintable()
        else:
            assert found in (400, 405, 421, 431)
