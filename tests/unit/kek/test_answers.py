"""What the answers of key services have in common."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.kek.answers import decoded, encoded, read
from certrotd.kek.crc32c import crc32c
from certrotd.kek.port import KekUnavailable


@given(st.binary(max_size=100), st.booleans())
def test_base64_is_read_as_it_was_written(data: bytes, url_safe: bool) -> None:
    """With padding and without."""
    text = encoded(data, url_safe=url_safe)
    assert decoded(text, url_safe=url_safe) == data
    assert decoded(base64.urlsafe_b64encode(data).decode(), url_safe=True) == data
    assert ("=" in text and url_safe) is False


@pytest.mark.parametrize("text", ["*", "a", None, 3, b"YQ==", "YQ==\n", "ä"])
def test_what_is_no_base64_is_refused(text: object) -> None:
    """Characters outside of the alphabet are not passed over."""
    with pytest.raises(ValueError, match=r"no text|not Base64|ASCII"):
        decoded(text)


@given(st.text(max_size=30))
def test_no_text_makes_base64_raise_anything_else(text: str) -> None:
    """It comes from outside."""
    with contextlib.suppress(ValueError):
        decoded(text)


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, AttributeError, IndexError])
def test_an_answer_that_makes_no_sense_passes(error: type[Exception]) -> None:
    """A proxy's page is the usual one."""

    def take() -> None:
        raise error

    with pytest.raises(KekUnavailable, match="it gave an answer that cannot be read"):
        read("it", take)
    assert read("it", lambda: 3) == 3


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_gives_the_known_answers(data: bytes, crc: int) -> None:
    """Those of RFC 3720 appendix B.4."""
    assert crc32c(data) == crc
