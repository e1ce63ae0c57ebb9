"""Responses on the wire."""

from collections.abc import Iterator

import pytest

from certrotd.daemon.http.connection import Connection
from certrotd.daemon.http.request import RequestRefused
from certrotd.daemon.http.response import HTML, PIECE, TEXT, Response

OLD, NEW = b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def parts(answer: Response, request: bytes = NEW) -> tuple[str, bytes]:
    """The head as text, and the body as sent."""
    connection = Connection(frozenset())
    connection.take(request)
    before, _, after = b"".join(connection.written(answer)).partition(b"\r\n\r\n")
    return before.decode("ascii"), after


def test_a_text_has_its_length() -> None:
    """In bytes, not characters."""
    head, body = parts(Response("ä\n", TEXT))
    assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n")
    assert "Content-Length: 3" in head
    assert body == b"\xc3\xa4\n"


@pytest.mark.parametrize("body", ["a\ud800é", ["a\ud800", "é"]], ids=["whole", "in pieces"])
def test_a_lone_surrogate_does_not_cost_the_page(body: str | list[str]) -> None:
    """A line of history may hold half a surrogate pair, as JSON can write it."""
    assert parts(Response(body), OLD)[1] == "a\\ud800é".encode()


def test_a_long_answer_goes_in_chunks_that_end() -> None:
    """A client sees where the end was cut off, and takes half of the metrics for nothing."""
    head, body = parts(Response(["x" * PIECE, "y", "", "z"]))
    assert "Transfer-Encoding: chunked" in head
    assert "Content-Length" not in head
    assert body == b"8000\r\n" + b"x" * PIECE + b"\r\n2\r\nyz\r\n0\r\n\r\n"
    assert parts(Response([]))[1] == b"0\r\n\r\n"


def test_a_long_answer_is_sent_while_it_is_made() -> None:
    """A scrape of 10,000 certificates is never held as a whole."""
    made: list[int] = []

    def lines() -> Iterator[str]:
        for number in range(100):
            made.append(number)
            yield "x" * PIECE

    connection = Connection(frozenset())
    connection.take(NEW)
    pieces = connection.written(Response(lines()))
    assert (next(pieces)[:12], made) == (b"HTTP/1.1 200", [])
    for count in range(1, 100):
        assert len(next(pieces)) < PIECE + 20
        assert len(made) == count


def test_an_old_client_gets_no_chunks() -> None:
    """HTTP/1.0 ends with the connection."""
    head, body = parts(Response(["a", "b"]), OLD)
    assert "Transfer-Encoding" not in head
    assert body == b"ab"


@pytest.mark.parametrize("body", ["abc", ["abc"]])
def test_head_has_no_body(body: str | list[str]) -> None:
    """Load balancers ask like that; the headers are those of GET."""
    asked = parts(Response(body), NEW.replace(b"GET", b"HEAD"))
    assert asked == (parts(Response(body))[0], b"")


def test_a_refused_head_has_no_body_either() -> None:
    """A client would take it for the next answer."""
    connection = Connection(frozenset())
    with pytest.raises(RequestRefused) as caught:
        connection.take(b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    answer = b"".join(connection.written(Response("no\n", status=caught.value.status)))
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert answer.endswith(b"Content-Length: 3\r\n\r\n")


def test_every_answer_is_locked_down() -> None:
    """No script, no frame, no guessing of types, nothing kept, nothing sent on."""
    head, _ = parts(Response("<p>", HTML, 404))
    assert head.startswith("HTTP/1.1 404 Not Found")
    assert "default-src 'none'" in head
    assert "script-src" not in head
    for line in (
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        "Connection: close",
    ):
        assert head.count(line) == 1
    assert "frame-ancestors 'none'" in head
    assert "Allow: GET, HEAD" not in head
    assert "Allow: GET, HEAD" in parts(Response("no", status=405))[0]


def test_the_style_sheet_may_be_cached() -> None:
    """Only the style sheet, under the address that tells its content."""
    assert "Cache-Control: public, max-age=31536000, immutable" in parts(Response("", keep=True))[0]
