"""Whatever a parser raises on the bytes of others is one failure, and nothing else is."""

import pytest
from cryptography import x509

from certrotd.errors import InvalidInput, Transient
from certrotd.pki.foreign import foreign

Panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
"""The library's own cannot be imported; it is known by its module."""


@pytest.mark.parametrize(
    "error",
    [
        TypeError("a value"),
        ValueError("a value"),
        OverflowError("a value"),
        RecursionError("a value"),
        x509.UnsupportedGeneralNameType("a value"),
        x509.DuplicateExtension("a value", x509.NameConstraints.oid),
        Panic("a value"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_library_raises_says_what_could_not_be_read(error: BaseException) -> None:
    """A list of its exceptions would be out of date with its next release."""
    words = "the leaf is unreadable: a value"
    with pytest.raises(InvalidInput, match=words), foreign("the leaf is unreadable"):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), Transient("no answer")])
def test_exceptions_from_elsewhere_pass_unchanged(error: BaseException) -> None:
    """A stop, a machine without memory and certrotd's own words are nothing of the bytes."""
    with pytest.raises(type(error)), foreign("the leaf is unreadable"):
        raise error


def test_a_failure_without_words_has_those_of_the_block() -> None:
    """No colon stands at the end of nothing."""
    with pytest.raises(InvalidInput) as refused, foreign("the leaf is unreadable"):
        raise ValueError
    assert refused.value.message == "the leaf is unreadable"
