"""Wrapping by 32 bytes that certrotd itself holds: AES-256-GCM, the context as associated data.

The body of an envelope is ``nonce, 12 bytes | ciphertext | tag, 16``.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from certrotd.kek import envelope
from certrotd.kek.port import MAX_KEY, Context

SIZE = 32
_NONCE = 12


def seal(secret: bytes, key: bytes, context: Context) -> bytes:
    """The nonce, and ``key`` encrypted under ``secret`` (SIZE bytes)."""
    if len(key) > MAX_KEY:
        raise ValueError(f"a key has {MAX_KEY} bytes at most")
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(secret).encrypt(nonce, key, envelope.associated_data(context))


def unseal(secret: bytes, body: bytes, context: Context, what: str) -> bytes:
    """The key that seal() encrypted; raises Damaged, which names ``what`` did not open it."""
    nonce, ciphertext = body[:_NONCE], body[_NONCE:]
    try:
        return AESGCM(secret).decrypt(nonce, ciphertext, envelope.associated_data(context))
    except (InvalidTag, ValueError):  # the latter for a nonce too short
        raise envelope.damaged(what) from None


def wrap(kek: bytes, key: bytes, context: Context) -> bytes:
    """``key`` in an envelope of the KEK whose bytes are ``kek``."""
    return envelope.sealed(identified(kek), seal(kek, key, context), context)


def unwrap(kek: bytes, wrapped: bytes, context: Context, what: str) -> bytes:
    """What wrap() wrapped; raises as Kek.unwrap."""
    body = envelope.opened(wrapped, context).by(identified(kek), what)
    return unseal(kek, body, context, what)


def identified(kek: bytes) -> bytes:
    """The id of a KEK of bytes: the same wherever they are kept."""
    return envelope.kek_id("bytes", kek)
