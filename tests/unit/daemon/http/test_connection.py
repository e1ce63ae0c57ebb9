"""How a request is put together from what comes, and how much may come."""

import pytest

from certrotd.daemon.http.connection import MAX_HEAD, Connection
from certrotd.daemon.http.request import Request, RequestRefused
from certrotd.daemon.http.response import Response

REQUEST = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


def of_length(size: int) -> bytes:
    """A request that is so long altogether."""
    return REQUEST[:-2] + b"X: ".ljust(size - len(REQUEST) - 2, b"y") + b"\r\n\r\n"


def test_a_request_may_come_byte_by_byte() -> None:
    """Networks cut where they like."""
    connection = Connection(frozenset())
    for byte in REQUEST[:-1]:
        assert connection.take(bytes([byte])) is None
    assert connection.take(REQUEST[-1:]) == Request("/a")


def test_bytes_after_the_request_are_ignored() -> None:
    """One request a connection."""
    assert Connection(frozenset()).take(REQUEST + b"\n\x00 more") == Request("/a")


@pytest.mark.parametrize("step", [1, 1000, MAX_HEAD])
def test_a_request_is_at_most_so_long_however_it_comes(step: int) -> None:
    """And one byte less than too much is answered."""
    whole, longer = of_length(MAX_HEAD), of_length(MAX_HEAD + 1)
    assert fed(Connection(frozenset()), whole, step) == Request("/a")
    with pytest.raises(RequestRefused) as caught:
        fed(Connection(frozenset()), longer, step)
    assert caught.value.status == 431


def test_many_headers_are_no_trouble_within_the_length() -> None:
    """The length bounds their number."""
    many = REQUEST[:-2] + b"X:\r\n" * ((MAX_HEAD - len(REQUEST)) // 4) + b"\r\n"
    assert fed(Connection(frozenset()), many, MAX_HEAD) == Request("/a")


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00\x01", b"\r\n", b" "])
def test_bytes_that_cannot_become_a_request_are_refused_at_once(first: bytes) -> None:
    """Somebody who speaks TLS here need not wait to hear that it is wrong."""
    with pytest.raises(RequestRefused) as caught:
        Connection(frozenset()).take(first)
    assert caught.value.status == 400


def test_before_there_is_a_request_it_can_be_refused() -> None:
    """Who is too slow is told so."""
    for begun in (b"", b"GET / HT"):
        connection = Connection(frozenset())
        if begun:
            assert connection.take(begun) is None
        answer = b"".join(connection.written(Response("slow\n", status=408)))
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert answer.endswith(b"\r\n\r\nslow\n")


def fed(connection: Connection, data: bytes, step: int) -> Request | None:
    """What is found when it comes in pieces, none longer than there is room for."""
    while data:
        size = min(step, connection.room)
        assert size > 0
        if found := connection.take(data[:size]):
            return found
        data = data[size:]
    return None


@pytest.mark.parametrize("line", [b"GET /\xff?<script> HTTP/1.1", b"GET / HTTP/1.1\r\n<script>"])
def test_a_malformed_request_is_not_echoed(line: bytes) -> None:
    """A browser never reads what somebody made it send."""
    with pytest.raises(RequestRefused, match=r"^not a request of HTTP/1\.1$"):
        Connection(None).take(line + b"\r\nHost: localhost\r\n\r\n")
