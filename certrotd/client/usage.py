"""What a process has encrypted with a key, counted without a lock, and how much it may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certrotd.keyring.material import Algorithm

RANDOM_NONCES = 2**32
"""Messages under one key with random nonces of 96 bits: NIST SP 800-38D §8.3."""
MISUSE_RESISTANT = 2**48
"""Messages under one key of AES-GCM-SIV.

RFC 8452 §9 has 2^48 blocks for an advantage of 2^-32 without the key that each nonce derives, and
with it far more; what two messages of one nonce show is whether they are equal.
"""
UNLIMITED = 2**62
"""For nonces of 128 bits and more."""
_LIMITS = {
    "aes-128-gcm": RANDOM_NONCES,
    "aes-192-gcm": RANDOM_NONCES,
    "aes-256-gcm": RANDOM_NONCES,
    "chacha20-poly1305": RANDOM_NONCES,
    "passphrase": RANDOM_NONCES,  # what is derived of it may be a key of AES-GCM
    "aes-128-gcm-siv": MISUSE_RESISTANT,
    "aes-256-gcm-siv": MISUSE_RESISTANT,
}
_NONCE = 12


def limit(algorithm: Algorithm) -> int:
    """How many messages a key may encrypt, all processes together."""
    return _LIMITS.get(algorithm.value, UNLIMITED)


class Counter:
    """Counts in steps of one, of which none is lost between threads: next() on it is one act."""

    __slots__ = ("_most", "steps")

    def __init__(self, most: int = UNLIMITED) -> None:
        self._most = most
        self.steps = repeat(_NONCE, most)
        """As many more as there may be."""

    @property
    def value(self) -> int:
        return self._most - length_hint(self.steps)


class Usage:
    """What this process encrypts with one key: ``before`` messages are counted elsewhere.

    ``nonces`` are fresh from the system's random numbers, each as it is taken, so neither a fork
    nor a second thread ever has one twice; each that is taken counts as a message, and they end
    when the key has encrypted as many as it may.
    """

    __slots__ = ("_messages", "before", "bytes", "limit", "nonces")

    def __init__(self, algorithm: Algorithm, before: int) -> None:
        self.limit = limit(algorithm)
        self.before = before
        self._messages = Counter(max(0, self.limit - before))
        # what os.urandom() asks, too; of so few bytes it never gives less (random(7)), so no loop
        self.nonces: Iterator[bytes] = map(os.getrandom, self._messages.steps)
        self.bytes = 0
        """Of plaintext; added to by statements that nothing interrupts in CPython."""

    @property
    def messages(self) -> int:
        return self._messages.value

    @property
    def exhausted(self) -> bool:
        """Whether it may encrypt no more, by what it and others are known to have encrypted."""
        return self.before + self.messages >= self.limit

    def learn(self, before: int) -> None:
        """So many messages are counted elsewhere by now."""
        self.before = max(self.before, before)

    def spend(self, size: int) -> bool:
        """Count a message of ``size`` bytes; False if it is one too many."""
        if self.exhausted or next(self._messages.steps, None) is None:
            return False
        self.bytes += size
        return True
