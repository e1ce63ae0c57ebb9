"""Why a keyring does not encrypt or decrypt for an application."""

from __future__ import annotations

from certrotd.codecs.errors import CodecError
from certrotd.errors import InvalidInput, NeedsOperator, Transient


class CannotDecrypt(CodecError):
    """The ciphertext does not open: altered, cut short, or of other associated data.

    Whatever it is, the message is the same, and neither the bytes nor the place are told.
    """

    def __init__(self) -> None:
        super().__init__("the ciphertext does not open with this keyring and associated data")


class KeyExhausted(NeedsOperator):
    """The key that encrypts has encrypted as many messages as it may; it still decrypts."""

    def __init__(self, keyring: str, version: int, limit: int) -> None:
        super().__init__(
            f"version {version} of the keyring {keyring} has encrypted {limit} messages",
            hint="rotate it: with random nonces, more messages make two nonces of one key likely",
        )


class KeyringClosed(InvalidInput):
    """It was closed, and holds no keys any more."""

    def __init__(self, keyring: str) -> None:
        super().__init__(f"the keyring {keyring} is closed")


class SourceUnavailable(Transient):
    """Where the keyring is kept, it cannot be had now."""


class NotPermitted(NeedsOperator):
    """The server does not give this keyring to this process."""
