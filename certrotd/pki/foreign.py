"""Bytes that somebody else made: whatever the library raises on them is one failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from certrotd.errors import Failure, InvalidInput, one_line

MAX_REASON = 200
_PANIC = "pyo3_runtime"


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Within the block, whatever the X.509 library raises becomes InvalidInput ``what: reason``.

    It names a dozen exceptions, and others escape it: TypeError, OverflowError, and the panics of
    its Rust code, which are no Exception. What certrotd raises itself passes.
    """
    try:
        yield
    except Failure:
        raise
    except BaseException as error:
        if not _of_the_library(error):
            raise
        reason = _reason(error)
        raise InvalidInput(f"{what}: {reason}" if reason else what) from None


def _reason(error: BaseException) -> str:
    """What the library says, but for what its parsers say of their own inside."""
    said = one_line(str(error))
    if "ParseError {" in said:
        return "it is damaged, cut short, or something else"
    if "Unable to load PEM" in said:
        return "its base64 is damaged"
    return said[:MAX_REASON]


def _of_the_library(error: BaseException) -> bool:
    if isinstance(error, Exception):
        return not isinstance(error, MemoryError)
    return type(error).__module__ == _PANIC
