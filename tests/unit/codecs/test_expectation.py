"""What a plaintext must look like where nothing else proves that a key was right."""

import pytest

from certrotd.codecs.expectation import Expectation, Json, Length, Matching, Utf8
from certrotd.codecs.patterns import WholePattern

IBAN = Matching(WholePattern(r"[A-Z]{2}\d{2}"))


@pytest.mark.parametrize(
    ("expectation", "plaintext"),
    [
        (Utf8(), b""),
        (Utf8(), "größe".encode()),
        (Json(), b"null"),
        (Json(), b'{"a": [1]}'),
        (IBAN, b"DE89"),
        (Length(2, 4), b"\xff\xff"),
        (Length(2, 4), b"\xff\xff\xff\xff"),
    ],
)
def test_a_plaintext_as_expected_is_taken(expectation: Expectation, plaintext: bytes) -> None:
    """The edges included."""
    assert expectation.holds(plaintext)


@pytest.mark.parametrize(
    ("expectation", "plaintext"),
    [
        (Utf8(), b"\xff"),
        (Json(), b""),
        (Json(), b'"\xff"'),
        (Json(), b"{"),
        (Json(), b"[" * 100_000),
        (IBAN, b"DE89 "),
        (IBAN, b"DE89\n"),
        (IBAN, b" DE89"),
        (IBAN, b"DE8\xff"),
        (Length(2, 4), b"\xff"),
        (Length(2, 4), b"12345"),
    ],
)
def test_any_other_plaintext_is_not(expectation: Expectation, plaintext: bytes) -> None:
    """Also where a pattern matches a part of it."""
    assert not expectation.holds(plaintext)
