"""What a key-encryption key does, and how it fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from certrotd.errors import NeedsOperator, Transient

Context = Mapping[str, str]
"""What a wrapped key is bound to, as associated data: the keyring, the version, the purpose."""

MAX_KEY = 4096
"""Bytes of a key that every KEK wraps: what the narrowest of the key services takes."""


class KekUnavailable(Transient):
    """The KEK does not answer, or not in time; what it wrapped is as good as before."""


class KekRefused(NeedsOperator):
    """The KEK cannot unwrap this, and trying again will not help."""


class WrongKek(KekRefused):
    """Another KEK wrapped it."""


class ContextMismatch(KekRefused):
    """It was wrapped for something else: another keyring, version or purpose."""


class Truncated(KekRefused):
    """The end of it is missing."""


class Damaged(KekRefused):
    """It is not what was wrapped."""


class Disabled(KekRefused):
    """Somebody disabled the KEK, or scheduled its deletion, where it is kept."""


class Denied(NeedsOperator):
    """The KEK's service does not let certrotd use it: credentials or a permission are missing."""


class Unfit(NeedsOperator):
    """What is there is no KEK, or others can read it."""


class Kek(Protocol):
    """Wraps keys, and gives them back to whoever names the same context.

    Each call ends within a time that the KEK was built with, whatever the other side does. All of
    it raises KekUnavailable, Disabled, Denied or Unfit; no message shows a byte of a key.
    """

    def wrap(self, key: bytes, context: Context) -> bytes:
        """The key, of at most MAX_KEY bytes, readable by this KEK alone."""
        ...

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The key.

        Raises WrongKek, ContextMismatch, Truncated or Damaged.
        """
        ...

    def rewrap(self, wrapped: bytes, context: Context) -> bytes:
        """The same key, wrapped by the present version of this KEK; raises as unwrap()."""
        ...
