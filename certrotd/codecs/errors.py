"""Why a stored ciphertext cannot be read or written.

What is wrong can be seen without a key: Damaged, TooLarge, Unsupported, UnknownKey. What only a key
can tell is WrongKey with one wording, whatever failed: neither a tag, nor padding, nor what was
compressed, nor the plaintext is told from another.
"""

from __future__ import annotations

from certrotd.errors import InvalidInput, NeedsOperator


class CodecError(InvalidInput):
    """A ciphertext, or what is to become one, is not what the codec takes."""


class Damaged(CodecError):
    """The ciphertext is not of this form: cut short, altered, or something else."""


class TooLarge(CodecError):
    """The ciphertext, or what it says its plaintext is, exceeds what is read into memory."""


class Unsupported(CodecError, NeedsOperator):
    """The ciphertext or the key is of a kind that this codec does not work on."""


class UnknownKey(CodecError):
    """The ciphertext names a key that is not at hand; ``key_id`` is its name."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"the ciphertext names key {key_id}, which is not at hand")
        self.key_id = key_id


class WrongKey(CodecError):
    """The ciphertext does not open: another key, other associated data, or altered bytes."""

    def __init__(self) -> None:
        super().__init__("the ciphertext does not open with this key and associated data")
