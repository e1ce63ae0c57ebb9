"""A mark in ciphertext that has no MAC: what certrotd writes proves its key, what others do not.

The second half of what would be random, an iv or a salt, is an HMAC of the first half and the
plaintext. To everybody else it is as random as before (a pseudorandom function, as in the synthetic
iv of RFC 5297), and no reader of such ciphertext looks at it.
"""

from __future__ import annotations

import hmac
import os

_LABEL = b"certrotd mark 1\0"


def marked_noise(secret: bytes, plaintext: bytes, length: int) -> bytes:
    """``length`` bytes for the iv or salt of ``plaintext``, marked by ``secret``."""
    seed = os.urandom(length - length // 2)
    return seed + _mark(secret, seed, plaintext, length // 2)


def is_marked(secret: bytes, plaintext: bytes, noise: bytes) -> bool:
    """Whether ``noise`` was made by marked_noise(); by chance once in 256 to half its length."""
    half = len(noise) // 2
    seed, mark = noise[: len(noise) - half], noise[len(noise) - half :]
    return hmac.compare_digest(_mark(secret, seed, plaintext, half), mark)


def _mark(secret: bytes, seed: bytes, plaintext: bytes, length: int) -> bytes:
    return hmac.digest(secret, _LABEL + seed + plaintext, "sha256")[:length]
