"""HTTP/1.1 as a CA, or whoever answers in its place, may speak it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.errors import NeedsOperator
from certrotd.https.http1 import MAX_HEAD, Answer, ContentTooLarge, Exchange, Malformed

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\n"


def coming(data: bytes, *, pieces: int = 65536) -> Callable[[], bytes]:
    """What gives ``data`` in pieces, then the end of the connection."""

    def parts() -> Iterator[bytes]:
        for start in range(0, len(data), pieces):
            yield data[start : start + pieces]

    rest = parts()
    return lambda: next(rest, b"")


def read(data: bytes, method: str = "POST", *, pieces: int = 65536) -> Answer:
    exchange = Exchange(method, "/", "ca", {}, None)
    return exchange.read(coming(data, pieces=pieces), limit=LIMIT)


def test_a_request_says_its_length_and_asks_for_plain_content() -> None:
    """Everything that goes out is here."""
    made = Exchange("POST", "/order?a=b", "ca:14000", {"Content-Type": "x"}, "é".encode()).message
    assert made == (
        b"POST /order?a=b HTTP/1.1\r\nHost: ca:14000\r\nAccept-Encoding: identity\r\n"
        b"Content-Type: x\r\nContent-Length: 2\r\n\r\n\xc3\xa9"
    )
    assert b"Content-Length" not in Exchange("GET", "/", "ca", {}, None).message


@pytest.mark.parametrize("value", ["canary ", " canary", "canary\n", "canary\u20ac"])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(value: str) -> None:
    """It may be a secret, and what is raised goes into journals and alerts."""
    with pytest.raises(NeedsOperator, match="the request to ca cannot be written") as caught:
        Exchange("POST", "/", "ca", {"Authorization": value}, None)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert Exchange("POST", "/", "ca", {"Authorization": "canary"}, None).message  # the control


@pytest.mark.parametrize("pieces", [1, 7, 65536])
def test_an_answer_is_read_however_it_is_cut(pieces: int) -> None:
    """TCP knows no messages."""
    data = OK + b"Replay-Nonce:  abc \r\nLINK: a\r\nLink: b\r\nContent-Length: 5\r\n\r\nhello"
    headers = {"replay-nonce": "abc", "link": "a, b", "content-length": "5"}
    assert read(data, pieces=pieces) == Answer(200, headers, b"hello", final=False)


@pytest.mark.parametrize("pieces", [1, 3, 65536])
def test_chunks_are_put_together(pieces: int) -> None:
    """Servers that do not know the length send them; extensions and trailers say nothing to us."""
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = read(head + b"5;a=b\r\nhello\r\n1 \r\n!\r\n0\r\nTrailer: x\r\n\r\n", pieces=pieces)
    assert (answer.content, answer.final) == (b"hello!", False)


def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    """As HTTP/1.0 does it."""
    answer = read(b"HTTP/1.0 200\r\n\r\nhello")
    assert (answer.content, answer.final) == (b"hello", True)


@pytest.mark.parametrize(
    ("data", "final"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\nConnection: keep-alive\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\nConnection: Close\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (OK + b"Content-Length: 0\r\n\r\nHTTP/1.1 200 what nobody asked for\r\n\r\n", True),
    ],
)
def test_a_connection_is_kept_only_where_the_next_answer_will_be_the_next(
    data: bytes, final: bool
) -> None:
    """An answer taken for that of another request would be an order mixed up with another."""
    assert read(data).final is final


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (OK + b"Content-Length: 5\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "GET"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "GET"),
    ],
)
def test_bodiless_answers_have_no_content_whatever_their_headers_say(
    data: bytes, method: str
) -> None:
    """RFC 9112 §6.3; waiting for it would last until the deadline."""
    assert read(data, method).content == b""


def test_interim_answers_are_passed_over() -> None:
    """100 and 103 come before the answer, but not for ever."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    final = OK + b"Content-Length: 2\r\n\r\nok"
    assert read(interim * 9 + final).content == b"ok"
    with pytest.raises(Malformed, match="10 interim answers"):
        read(interim * 10 + final)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "closed in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed in the middle"),
        (OK + b"Content-Length: 5\r\n\r\nhell", "closed in the middle"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed in the middle"),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
            "malformed chunk footer",
        ),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", "illegal chunk header"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * MAX_HEAD * 2, "too long"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Only Transfer-Encoding: chunked"),
        (OK + b"Content-Length: 5, 6\r\n\r\nhello", "conflicting Content-Length"),
        (OK + b"Content-Length: -1\r\n\r\n", "bad Content-Length"),
        (OK + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx", "encoding 'br'"),
        (OK + b" folded\r\n\r\n", "continuation line"),
        (OK + b"Location: a\x00b\r\n\r\n", "illegal header line"),
        (OK + b"no colon\r\n\r\n", "illegal header line"),
        (b"HTTP/2 200 OK\r\n\r\n", "illegal status line"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK" + b"x" * MAX_HEAD, "too long"),
    ],
)
def test_an_incomplete_answer_is_refused(data: bytes, why: str) -> None:
    """Half a certificate chain parses as a shorter chain."""
    with pytest.raises(Malformed, match=why):
        read(data)


def test_a_greeting_is_no_answer_however_long_its_end_is_awaited() -> None:
    """A mail server waits for the client; who waits for more of it waits until the deadline."""
    greeting = iter([b"22", b"0 mail.example.test ESMTP\r\n"])
    with pytest.raises(Malformed, match="does not speak HTTP"):
        Exchange("POST", "/", "ca", {}, None).read(lambda: next(greeting), limit=LIMIT)


def judge(data: bytes) -> Answer:
    return Exchange("POST", "/", "ca", {}, None).judge(coming(data), limit=9)


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Length: 5\r\n\r\nhe",
        b"Content-Length: 999999\r\n\r\n" + b"x" * 99,
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b",
        b"Transfer-Encoding: chunked\r\n\r\nwhat?\r\n",
    ],
)
def test_a_status_is_judged_whatever_becomes_of_the_content(content: bytes) -> None:
    """An alert that was taken is not sent again because its answer stops in the middle."""
    answer = judge(OK + content)
    assert (answer.status, answer.content, answer.final) == (200, b"", True)
    refused = judge(b"HTTP/1.1 500 No\r\n" + content)
    assert (refused.status, refused.final, len(refused.content) <= 9) == (500, True, True)


def test_the_beginning_of_an_errors_content_is_read() -> None:
    """It often says why."""
    assert judge(b"HTTP/1.1 500 No\r\n\r\ntry later, please").content == b"try later"
    with pytest.raises(Malformed, match="closed in the middle"):
        judge(b"HTTP/1.1 500 No\r\nX")


def test_content_is_read_until_it_is_enough_and_not_kept() -> None:
    """Of what is large only a line matters; nobody knows what else would come on the connection."""
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", b"one", b"two", b"three"]
    waiting, seen = iter(pieces), list[bytes]()

    def enough(data: bytes) -> bool:
        seen.append(data)
        return data == b"two"

    exchange = Exchange("GET", "/", "ca", {}, None)
    answer = exchange.read(lambda: next(waiting), limit=LIMIT, enough=enough)
    assert (seen, answer.content, answer.final) == ([b"one", b"two"], b"", True)
    assert next(waiting) == b"three"
    refused = coming(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    other = Exchange("GET", "/", "ca", {}, None).read(refused, limit=LIMIT, enough=enough)
    assert (other.content, len(seen)) == (b"no", 2)


def test_a_trailer_ends_within_the_limit_of_a_head() -> None:
    """A server that goes on with it for ever would keep a processor busy until the deadline."""
    chunks = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
    assert read(chunks + b"X: y\r\n" * 9 + b"\r\n").content == b"ok"
    with pytest.raises(Malformed, match="too long"):
        read(chunks + b"X: y\r\n" * MAX_HEAD + b"\r\n")


@pytest.mark.parametrize(
    "framing",
    [
        lambda size: b"Content-Length: %d\r\n\r\n" % size + b"x" * size,
        lambda size: (
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
        ),
        lambda size: b"\r\n" + b"x" * size,
    ],
    ids=["length", "chunks", "end"],
)
def test_content_beyond_the_limit_is_refused(framing: Callable[[int], bytes]) -> None:
    """However it is sent, and before it is in memory."""
    assert len(read(OK + framing(LIMIT)).content) == LIMIT
    with pytest.raises(ContentTooLarge):
        read(OK + framing(LIMIT + 1))


@given(
    st.binary(max_size=300), st.sampled_from([b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"])
)
def test_any_bytes_are_an_answer_or_none(data: bytes, before: bytes) -> None:
    """Whatever a server sends, it ends in one of these."""
    with contextlib.suppress(Malformed, ContentTooLarge):
        assert len(read(before + data).content) <= LIMIT
