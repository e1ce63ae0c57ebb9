"""Responses on the wire."""

import pytest

from certrotd.daemon.web.answer import HTML, PIECE, TEXT, Answer


def parts(answer: Answer, *, head: bool = False, chunks: bool = True) -> tuple[str, bytes]:
    """The head as text, and the body as sent."""
    whole = b"".join(answer.pieces(head=head, chunks=chunks))
    before, _, after = whole.partition(b"\r\n\r\n")
    return before.decode("ascii"), after


def test_a_text_has_its_length() -> None:
    """In bytes, not characters."""
    head, body = parts(Answer("ä\n", TEXT))
    assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n")
    assert "Content-Length: 3" in head
    assert body == b"\xc3\xa4\n"


@pytest.mark.parametrize("body", ["a\ud800é", ["a\ud800", "é"]], ids=["whole", "in pieces"])
def test_what_is_no_character_does_not_cost_the_page(body: str | list[str]) -> None:
    """A line of history may hold half a surrogate pair, as JSON can write it."""
    answer = b"".join(Answer(body).pieces(head=False, chunks=False))
    assert answer.endswith(b"\r\n\r\n" + "a\\ud800é".encode())


def test_a_long_answer_goes_in_chunks_that_end() -> None:
    """A client sees where the end was cut off, and takes half of the metrics for nothing."""
    head, body = parts(Answer(["x" * PIECE, "y", "", "z"]))
    assert "Transfer-Encoding: chunked" in head
    assert "Content-Length" not in head
    assert body == b"8000\r\n" + b"x" * PIECE + b"\r\n2\r\nyz\r\n0\r\n\r\n"
    assert parts(Answer([]))[1] == b"0\r\n\r\n"


def test_an_old_client_gets_no_chunks() -> None:
    """HTTP/1.0 ends with the connection."""
    head, body = parts(Answer(["a", "b"]), chunks=False)
    assert "Transfer-Encoding" not in head
    assert body == b"ab"


@pytest.mark.parametrize("body", ["abc", ["abc"]])
def test_head_has_no_body(body: str | list[str]) -> None:
    """Load balancers ask like that."""
    assert parts(Answer(body), head=True)[1] == b""


def test_every_answer_is_locked_down() -> None:
    """No script, no frame, no guessing of types, nothing kept, nothing sent on."""
    head, _ = parts(Answer("<p>", HTML, 404))
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
        assert line in head
    assert "frame-ancestors 'none'" in head
    assert "Allow: GET, HEAD" not in head
    assert "Allow: GET, HEAD" in parts(Answer("no", status=405))[0]


def test_what_never_changes_may_be_kept() -> None:
    """Only the style sheet, under the address that tells its content."""
    assert "Cache-Control: public, max-age=31536000, immutable" in parts(Answer("", keep=True))[0]
