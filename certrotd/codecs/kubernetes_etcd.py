"""How values of API servers begin in etcd: ``k8s:enc:PROVIDER:v1:KEY:``, then ciphertext.

Only the API server itself reads and writes them: what is here tells whose key a value is under.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from certrotd.codecs.errors import Damaged, Unsupported
from certrotd.codecs.port import KeyIds, Traits
from certrotd.keyring.material import Algorithm, DataKey

BEGINNING = b"k8s:enc:"
PROVIDERS = ("aescbc", "aesgcm", "secretbox")
_ALGORITHMS = frozenset(
    {
        *(Algorithm.AES_128_GCM, Algorithm.AES_192_GCM, Algorithm.AES_256_GCM),
        *(Algorithm.AES_128_CBC, Algorithm.AES_192_CBC, Algorithm.AES_256_CBC),
        Algorithm.XSALSA20_POLY1305,
    }
)


_TRAITS = Traits(KeyIds.STRICT, _ALGORITHMS, authenticated=False, text=False, beginning=BEGINNING)


@dataclass(frozen=True)
class StoredByApiServer:
    """The form of stored values, as far as a census needs it."""

    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """The name of its key, None of another provider's value; raises Damaged for plaintext."""
        if not ciphertext.startswith(BEGINNING):
            raise Damaged("the value is not encrypted")
        provider, version, name, *_ = [*ciphertext[len(BEGINNING) :].split(b":", 3), b"", b"", b""]
        if provider.decode("latin-1") not in PROVIDERS or version != b"v1":
            return None
        return name.decode("latin-1")

    def key_id_for(self, key: DataKey) -> str:
        """As the EncryptionConfiguration names it."""
        return key.id or str(key.version)

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """One for each provider."""
        return tuple(BEGINNING + f"{each}:v1:{key_id}:".encode() for each in PROVIDERS)

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> NoReturn:
        """Raises Unsupported."""
        raise Unsupported("what is in etcd is opened by API servers alone")

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> NoReturn:
        """Raises Unsupported."""
        raise Unsupported("what is in etcd is written by API servers alone")
