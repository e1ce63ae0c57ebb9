"""Values that age encrypted to one key, in its ASCII armor: among others the data keys of SOPS.

age-encryption.org/v1, X25519. The armor is read in one spelling alone: lines of 64 characters.
"""

from __future__ import annotations

import re
from typing import Any

from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import unbase64
from certrotd.extras import how_to_install
from certrotd.keyring.age_keys import identity_of, recipient_of
from certrotd.keyring.material import Algorithm, DataKey

MARK = b"-----BEGIN AGE ENCRYPTED FILE-----\n"
_END = b"\n-----END AGE ENCRYPTED FILE-----"
_LINES = re.compile(rb"(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/=]{1,64}")
_TRAITS = Traits(KeyIds.NONE, frozenset({Algorithm.AGE_X25519}), beginning=MARK)


class Age:
    """Codec of them."""

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """None: an ephemeral key stands there; raises Damaged."""
        _unarmored(ciphertext)
        return None

    def key_id_for(self, key: DataKey) -> str | None:
        """None."""
        usable(self.traits, key)
        return None

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """As Codec.decrypt."""
        usable(self.traits, key, associated_data)
        binary, pyrage = _unarmored(ciphertext), _pyrage()
        try:
            opened: bytes = pyrage.decrypt(binary, [key.made(_identity)])
        except pyrage.DecryptError:
            raise WrongKey from None
        return opened

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """As Codec.encrypt."""
        del replacing
        usable(self.traits, key, associated_data)
        pyrage = _pyrage()
        to = pyrage.x25519.Recipient.from_str(recipient_of(key))
        sealed: bytes = pyrage.encrypt(bounded(plaintext), [to], armored=True)
        return bounded(sealed.rstrip(b"\n"))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """None."""
        return ()


def _unarmored(ciphertext: bytes) -> bytes:
    data = bounded(ciphertext)
    inner = data[len(MARK) : -len(_END)]
    if not (data.startswith(MARK) and data.endswith(_END) and _LINES.fullmatch(inner)):
        raise Damaged("it is not in the armor of age")
    return unbase64(inner.replace(b"\n", b""))


def _identity(key: DataKey) -> Any:
    return _pyrage().x25519.Identity.from_str(identity_of(key))


def _pyrage() -> Any:
    try:
        import pyrage  # type: ignore[import-untyped]
    except ImportError:
        raise Unsupported(
            "keys of age need pyrage, which is not installed", hint=how_to_install("escrow")
        ) from None
    return pyrage
