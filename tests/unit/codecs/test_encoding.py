"""The encodings of symmetric-encryption: each in one spelling, and what begins a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrotd.codecs.encoding import Encoding
from certrotd.codecs.errors import Damaged

EACH = pytest.mark.parametrize("encoding", list(Encoding), ids=lambda e: e.value)


@EACH
@given(data=st.binary(max_size=200))
def test_what_is_encoded_decodes(encoding: Encoding, data: bytes) -> None:
    """Whatever the length, around the lines of 60 characters."""
    assert encoding.decode(encoding.encode(data)) == data


@EACH
@given(data=st.binary(min_size=1, max_size=200), five=st.binary(min_size=5, max_size=5))
def test_a_value_begins_with_one_of_its_beginnings_and_with_no_other(
    encoding: Encoding, data: bytes, five: bytes
) -> None:
    """So that a database counts by them."""
    text = encoding.encode(five + data)
    assert sum(text.startswith(b) for b in encoding.beginnings(five)) == 1
    other = bytes([*five[:4], five[4] ^ 1])
    assert not any(text.startswith(b) for b in encoding.beginnings(other))


def test_base64_with_lines_is_read_without_them_and_not_with_others() -> None:
    """A database may have stripped them; nobody moves them."""
    data = bytes(99)
    text = Encoding.BASE64.encode(data)
    assert text.count(b"\n") == 3
    assert Encoding.BASE64.decode(text.replace(b"\n", b"")) == data
    for wrong in (text + b"\n", text[:-1], b"\n" + text, text.replace(b"\n", b"\r\n")):
        with pytest.raises(Damaged):
            Encoding.BASE64.decode(wrong)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        (Encoding.BASE64STRICT, b"QQ"),
        (Encoding.BASE64STRICT, b"QR=="),
        (Encoding.BASE64STRICT, b"QQ==\n"),
        (Encoding.BASE64STRICT, b"-_=="),
        (Encoding.BASE64STRICT, b"\xff"),
        (Encoding.BASE64URLSAFE, b"+/=="),
        (Encoding.BASE16, b"AB"),
        (Encoding.BASE16, b"a"),
        (Encoding.BASE16, b"ab\n"),
    ],
)
def test_another_spelling_is_damaged(encoding: Encoding, text: bytes) -> None:
    """Unused bits, the other alphabet, upper case."""
    with pytest.raises(Damaged):
        encoding.decode(text)
