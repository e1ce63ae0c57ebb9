"""What surrounds a wrapped key: enough to say why it cannot be unwrapped, before anything is tried.

``CRK1 | id of the KEK, 8 bytes | hash of the context, 8 bytes | u16 length | body``, big-endian.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass

from certrotd.kek.port import Context, ContextMismatch, Damaged, Truncated, WrongKek

MAGIC = b"CRK1"
ID = 8
_HEADER = struct.Struct(f">4s{ID}s{ID}sH")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The id of the KEK that wrapped it, and what it made of the key."""

    kek_id: bytes
    body: bytes

    def by(self, kek_id: bytes, what: str) -> bytes:
        """The body if that KEK wrapped it, else WrongKek; ``what`` names the KEK that is asked."""
        if self.kek_id != kek_id:
            raise WrongKek(
                f"{what} has the id {kek_id.hex()}, and the key was wrapped by {self.kek_id.hex()}",
                hint="put the KEK back that wrapped it; it is not replaced while keys need it",
            )
        return self.body


def kek_id(kind: str, identity: bytes) -> bytes:
    """The id of a KEK; ``identity`` is its key, of which the id shows nothing, or its address."""
    return hashlib.sha256(b"certrotd kek id\0" + kind.encode() + b"\0" + identity).digest()[:ID]


def associated_data(context: Context) -> bytes:
    """The context as bytes: the same for the same names and values in whatever order."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":")).encode()


def sealed(kek: bytes, body: bytes, context: Context) -> bytes:
    """The envelope of ``body``, wrapped by the KEK of that id."""
    return _HEADER.pack(MAGIC, kek, _hash(context), len(body)) + body


def opened(wrapped: bytes, context: Context) -> Envelope:
    """What is in an envelope; raises Truncated, ContextMismatch or Damaged."""
    start = wrapped[: len(MAGIC)]
    if start != MAGIC[: len(start)]:
        raise Damaged("this is no wrapped key", hint="restore it from a backup")
    if len(wrapped) < _HEADER.size:
        raise _truncated(len(wrapped), _HEADER.size)
    _, kek, bound, length = _HEADER.unpack_from(wrapped)
    body = wrapped[_HEADER.size :]
    if len(body) < length:
        raise _truncated(len(wrapped), _HEADER.size + length)
    if len(body) > length:
        raise Damaged("something follows the wrapped key", hint="restore it from a backup")
    if bound != _hash(context):
        shown = ", ".join(f"{name} {context[name]}" for name in sorted(context))
        raise ContextMismatch(
            f"the wrapped key is not the one of {shown}", hint="it was moved or copied there"
        )
    return Envelope(kek, body)


def damaged(what: str) -> Damaged:
    """``what`` did not authenticate the body of an envelope that it seems to have wrapped."""
    return Damaged(
        f"the wrapped key is damaged: {what} does not authenticate it",
        hint="restore it from a backup",
    )


def _hash(context: Context) -> bytes:
    return hashlib.sha256(b"certrotd kek context\0" + associated_data(context)).digest()[:ID]


def _truncated(got: int, wanted: int) -> Truncated:
    return Truncated(
        f"the wrapped key is cut short: {got} of {wanted} bytes", hint="restore it from a backup"
    )
