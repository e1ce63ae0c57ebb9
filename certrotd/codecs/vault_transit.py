"""Ciphertext of the transit engine of Vault and OpenBao: ``vault:v3:<base64>``.

The keys never leave the server, so it encrypts and decrypts; here it is only told which version of
its key a value needs, for a census.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from certrotd.codecs.errors import Damaged, Unsupported
from certrotd.codecs.port import KeyIds, Traits, bounded
from certrotd.codecs.strict import unbase64
from certrotd.keyring.material import DataKey

_FORM = re.compile(rb"vault:(v[1-9][0-9]{0,9}):([A-Za-z0-9+/=]+)\Z")
_LEAST = 12 + 16
_TRAITS = Traits(KeyIds.STRICT, frozenset(), associated_data=True, beginning=b"vault:v")
_ID = re.compile(r"v[1-9][0-9]{0,9}\Z")


@dataclass(frozen=True)
class VaultTransit:
    """Ciphertext that a server reads and writes."""

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> str:
        """``v`` and the version of the server's key."""
        found = _FORM.match(bounded(ciphertext))
        if found is None or len(unbase64(found[2])) < _LEAST:
            raise Damaged("the ciphertext is not of the form vault:vN:")
        return found[1].decode("ascii")

    def key_id_for(self, key: DataKey) -> str:
        """``v`` and its version."""
        return f"v{key.version}"

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> NoReturn:
        """Raises Unsupported."""
        raise Unsupported("the server decrypts this: ask its transit engine")

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> NoReturn:
        """Raises Unsupported."""
        raise Unsupported("the server encrypts this: ask its transit engine")

    def growth(self, length: int) -> int:
        """A third and about 60 bytes for versions of up to ten digits."""
        return len("vault:v9999999999:") + (_LEAST + length + 2) // 3 * 4 - length

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """Up to the second colon."""
        if not _ID.match(key_id):
            raise Unsupported("a key id of the transit engine is v and a number")
        return (f"vault:{key_id}:".encode("ascii"),)
