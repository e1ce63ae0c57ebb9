"""The ciphertext of applications that have a form of their own, as their configuration says it.

A layout (``layout_form``), a cipher, and how the cipher's key comes from the application's: what
Lockbox, CryptoJS, n8n, sqlalchemy-utils, cloak and most home-grown columns store is one of these.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import aead as ciphers
from cryptography.hazmat.primitives.ciphers import modes

from certrotd.codecs.aead import TAG, Aead, opened
from certrotd.codecs.block import BLOCK, decrypt_blocks, encrypt_blocks, pad, unpad
from certrotd.codecs.cfb import cfb
from certrotd.codecs.derivation import Kdf, KdfName
from certrotd.codecs.errors import CodecError, Damaged, Unsupported, WrongKey
from certrotd.codecs.expectation import Expectation
from certrotd.codecs.layout_form import Form, checked_id
from certrotd.codecs.marking import is_marked, marked_noise
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.errors import InvalidInput
from certrotd.keyring.material import Algorithm, DataKey

_MAC = 32
_MARK_SALT = hashlib.sha512(b"certrotd mark 1").digest()


class LayoutCipher(StrEnum):
    """Ciphers of layouts; CBC and CFB without a MAC cannot tell a wrong key."""

    AES_128_GCM = "aes-128-gcm"
    AES_192_GCM = "aes-192-gcm"
    AES_256_GCM = "aes-256-gcm"
    CHACHA20_POLY1305 = "chacha20-poly1305"
    AES_128_CBC = "aes-128-cbc"
    AES_192_CBC = "aes-192-cbc"
    AES_256_CBC = "aes-256-cbc"
    AES_128_CBC_HMAC_SHA256 = "aes-128-cbc-hmac-sha256"
    AES_256_CBC_HMAC_SHA256 = "aes-256-cbc-hmac-sha256"
    AES_256_CFB = "aes-256-cfb"

    @property
    def is_aead(self) -> bool:
        """Whether it makes a tag."""
        return self.endswith(("-gcm", "-poly1305"))

    @property
    def has_mac(self) -> bool:
        """Whether an HMAC-SHA256 over iv and ciphertext stands beside it: encrypt-then-MAC."""
        return self.endswith("-hmac-sha256")

    @property
    def is_cbc(self) -> bool:
        """Whether it pads to whole blocks."""
        return "-cbc" in self

    @property
    def key_bytes(self) -> int:
        """The length of its key, without that of a MAC."""
        return int(self.split("-")[1]) // 8 if self.startswith("aes-") else 32


class IvFrom(StrEnum):
    """Where the iv is: in the layout, made by the KDF after the key, or the key's beginning."""

    LAYOUT = "layout"
    KDF = "kdf"
    KEY = "key"


class Padding(StrEnum):
    """What fills the last block of CBC: PKCS#7, or ``*`` or zero bytes, which end no plaintext."""

    PKCS7 = "pkcs7"
    ASTERISK = "asterisk"
    ZERO = "zero"


_FILL = {Padding.ASTERISK: b"*", Padding.ZERO: b"\0"}


@dataclass(frozen=True)
class Layout:
    """One home-grown form.

    ``iv_bytes``: 12 or 16 of an AEAD cipher. ``salt_bytes``: of ``{salt}``. ``mac_key``: whether
    the HMAC has the cipher's key (``same``), or what the KDF makes after it (``derived``).
    ``plaintext``: demanded where the cipher cannot tell a wrong key. ``marks``: what it writes
    proves its key all the same, as ``Marking``: by the iv, the salt, or a block of asterisks.
    Raises InvalidInput for options that do not go together.
    """

    layout: str
    cipher: LayoutCipher
    kdf: Kdf = field(default_factory=Kdf)
    iv_from: IvFrom = IvFrom.LAYOUT
    iv_bytes: int = 0
    salt_bytes: int = 16
    mac_key: str = "same"
    padding: Padding = Padding.PKCS7
    associated_data: bool = False
    plaintext: Expectation | None = None
    marks: bool = False

    def __post_init__(self) -> None:
        self._check_parts()
        self._check_iv()
        if self.mac_key not in ("same", "derived"):
            raise InvalidInput("mac_key is same or derived")
        if self.mac_key == "derived" and not self.cipher.has_mac:
            raise InvalidInput(f"{self.cipher} has no MAC, and takes no mac_key")
        if self.padding is not Padding.PKCS7 and not self.cipher.is_cbc:
            raise InvalidInput(f"{self.cipher} pads nothing, and takes no padding")
        if self.associated_data and not self.cipher.is_aead:
            raise InvalidInput(f"{self.cipher} binds no associated data")
        if self._made_bytes > self.kdf.most():
            raise InvalidInput(f"kdf {self.kdf.name} does not make {self._made_bytes} bytes")
        if self.kdf.name is KdfName.NONE and self.cipher is LayoutCipher.AES_256_CFB:
            raise InvalidInput(f"{self.cipher} needs a kdf: no keys are of that cipher alone")
        if not self._authenticated and self.plaintext is None:
            raise InvalidInput(
                f"{self.cipher} without a MAC can seem to open with a wrong key",
                hint="say what its plaintext looks like",
            )
        if self.marks and self._marked_part is None:
            raise InvalidInput(
                "one plaintext has one ciphertext, and nothing in it can tell which key wrote it",
                hint="such values are not re-encrypted",
            )

    def _check_parts(self) -> None:
        for part, there in (
            ("tag", self.cipher.is_aead),
            ("mac", self.cipher.has_mac),
            ("iv", self.iv_from is IvFrom.LAYOUT),
        ):
            if there != (part in self._names):
                lacks = "no" if there else "a"
                raise InvalidInput(
                    f"the layout has {lacks} {{{part}}}: that does not fit {self._why(part)}"
                )
        if "salt" not in self._names:
            return
        if not self.kdf.salted or self.kdf.salt:
            raise InvalidInput(
                "the layout has a {salt}: that needs a kdf with salt, and none given"
            )
        if not 8 <= self.salt_bytes <= 64:
            raise InvalidInput("salt_bytes is from 8 to 64")

    def _why(self, part: str) -> str:
        return f"iv_from {self.iv_from}" if part == "iv" else f"cipher {self.cipher}"

    def _check_iv(self) -> None:
        fitting = (0, 12) if self.cipher is LayoutCipher.CHACHA20_POLY1305 else (0, 12, 16)
        if self.iv_bytes not in (fitting if self.cipher.is_aead else (0, 16)):
            raise InvalidInput(f"{self.cipher} takes no iv_bytes of {self.iv_bytes}")
        unsalted = self.iv_from is IvFrom.KDF and "salt" not in self._names
        if self.iv_from is IvFrom.KDF and self.kdf.name in (KdfName.NONE, KdfName.SHA256):
            raise InvalidInput(f"kdf {self.kdf.name} makes no iv")
        if (unsalted or self.iv_from is IvFrom.KEY) and not self.cipher.is_cbc:
            raise InvalidInput(f"{self.cipher} under one iv for all values reveals plaintext")

    @cached_property
    def form(self) -> Form:
        """The layout, parsed."""
        return Form(self.layout)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.form.names)

    @property
    def _authenticated(self) -> bool:
        return self.cipher.is_aead or self.cipher.has_mac

    @cached_property
    def _marked_part(self) -> str | None:
        """What tells the key that wrote a value; of a MAC and of an id nothing more is needed."""
        if self._authenticated or "key" in self._names:
            return ""
        if self.padding is Padding.ASTERISK:
            return "padding"
        return next((part for part in ("iv", "salt") if part in self._names), None)

    @property
    def _iv_length(self) -> int:
        return self.iv_bytes or (12 if self.cipher.is_aead else BLOCK)

    @property
    def _made_bytes(self) -> int:
        mac = _MAC if self.mac_key == "derived" else 0
        return self.cipher.key_bytes + mac + self._iv_length * (self.iv_from is IvFrom.KDF)

    @cached_property
    def _lengths(self) -> dict[str, int]:
        return {"iv": self._iv_length, "tag": TAG, "mac": _MAC, "salt": self.salt_bytes}

    @cached_property
    def traits(self) -> Traits:
        """By its options; a KDF takes passphrases, and no KDF keys of the cipher."""
        algorithm = Algorithm.PASSPHRASE
        if self.kdf.name is KdfName.NONE:
            algorithm = Algorithm(self.cipher.removesuffix("-hmac-sha256"))
        return Traits(
            KeyIds.STRICT if "key" in self._names else KeyIds.NONE,
            frozenset({algorithm}),
            authenticated=self._authenticated,
            associated_data=self.associated_data,
            deterministic=not self._names & {"iv", "salt"},
            text=self.form.is_text,
            beginning=self.form.common,
        )

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """The id at ``{key}``; raises Damaged for what is not of the layout."""
        values = self._parsed(ciphertext)
        return values["key"].decode("ascii") if "key" in values else None

    def key_id_for(self, key: DataKey) -> str | None:
        """Its id, or its version, where the layout has ``{key}``."""
        if "key" not in self._names:
            return None
        return checked_id(key.id or str(key.version)).decode("ascii")

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext, as expected where that is told."""
        usable(self.traits, key, associated_data)
        values = self._parsed(ciphertext)
        if "key" in values and values["key"].decode("ascii") != self.key_id_for(key):
            raise WrongKey
        secret, mac_key, iv = self._secrets(key, values.get("salt", b""))
        iv = iv or values["iv"]
        found = self._opened(secret, mac_key, iv, values, associated_data)
        if self.plaintext is not None and not self.plaintext.holds(found):
            raise WrongKey
        return found

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The ciphertext; zero or asterisk padding is as long as that of ``replacing``."""
        usable(self.traits, key, associated_data)
        bounded(plaintext)
        values = {}
        if "salt" in self._names:
            values["salt"] = self._noise("salt", self.salt_bytes, key, plaintext)
        secret, mac_key, iv = self._secrets(key, values.get("salt", b""))
        values["iv"] = iv = iv or self._noise("iv", self._iv_length, key, plaintext)
        if "key" in self._names:
            values["key"] = checked_id(key.id or str(key.version))
        if self.cipher.is_aead:
            sealed = self._aead(secret).encrypt(iv, plaintext, associated_data)
            values["ct"], values["tag"] = sealed[:-TAG], sealed[-TAG:]
        elif self.cipher.is_cbc:
            kept = len(self._parsed(replacing)["ct"]) if replacing is not None else -1
            values["ct"] = encrypt_blocks(secret, modes.CBC(iv), self._padded(plaintext, kept))
        else:
            values["ct"] = encrypt_blocks(secret, cfb(iv), plaintext)
        if self.cipher.has_mac:
            values["mac"] = hmac.digest(mac_key, iv + values["ct"], "sha256")
        return bounded(self.form.render(values))

    def marked(self, ciphertext: bytes, key: DataKey) -> bool:
        """As Marking.marked; asterisks also where the application filled a whole block."""
        try:
            plaintext = self.decrypt(ciphertext, key)
        except CodecError:
            return False
        values = self._parsed(ciphertext)
        part = self._marked_part
        if part == "padding":
            return len(values["ct"]) - len(plaintext) >= BLOCK
        return part == "" or (
            part is not None and is_marked(key.made(self._marking), plaintext, values[part])
        )

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """Up to what follows ``{key}``, where only literals stand before it and one after it."""
        found = self.form.beginning(key_id) if "key" in self._names else None
        return () if found is None else (found,)

    def _parsed(self, ciphertext: bytes) -> dict[str, bytes]:
        values = self.form.parse(bounded(ciphertext), self._lengths)
        for name, length in self._lengths.items():
            if name in values and len(values[name]) != length:
                raise Damaged(f"the ciphertext's {name} has not {length} bytes")
        if self.cipher.is_cbc and (not values["ct"] or len(values["ct"]) % BLOCK):
            raise Damaged("the ciphertext is not of whole blocks")
        return values

    def _secrets(self, key: DataKey, salt: bytes) -> tuple[bytes, bytes, bytes]:
        """The cipher's key, the MAC's, and the iv where it is not in the layout."""
        made = self._derived(key.material.reveal(), salt) if salt else key.made(self._unsalted)
        secret, rest = made[: self.cipher.key_bytes], made[self.cipher.key_bytes :]
        mac_key = secret
        if self.mac_key == "derived":
            mac_key, rest = rest[:_MAC], rest[_MAC:]
        if self.iv_from is IvFrom.KEY:
            return secret, mac_key, secret[: self._iv_length]
        return secret, mac_key, rest if self.iv_from is IvFrom.KDF else b""

    def _noise(self, part: str, length: int, key: DataKey, plaintext: bytes) -> bytes:
        """Random bytes. No salt begins with an asterisk: Grafana takes that for a cipher's name."""
        while True:
            if self.marks and part == self._marked_part:
                noise = marked_noise(key.made(self._marking), plaintext, length)
            else:
                noise = os.urandom(length)
            if part != "salt" or not noise.startswith(b"*"):
                return noise

    def _marking(self, key: DataKey) -> bytes:
        """What marks are made with: of the key as costly as that of the cipher."""
        return self._derived(key.material.reveal(), _MARK_SALT[: self.salt_bytes])

    def _unsalted(self, key: DataKey) -> bytes:
        return self._derived(key.material.reveal(), b"")

    def _derived(self, secret: bytes, salt: bytes) -> bytes:
        return self.kdf.derive(secret, salt, self._made_bytes)

    def _aead(self, secret: bytes) -> Aead:
        if self.cipher is not LayoutCipher.CHACHA20_POLY1305:
            return ciphers.AESGCM(secret)
        try:
            return ciphers.ChaCha20Poly1305(secret)
        except UnsupportedAlgorithm:
            raise Unsupported(f"the OpenSSL of this machine has no {self.cipher}") from None

    def _opened(
        self, secret: bytes, mac_key: bytes, iv: bytes, values: dict[str, bytes], aad: bytes
    ) -> bytes:
        if self.cipher.is_aead:
            return opened(self._aead(secret), iv, values["ct"] + values["tag"], aad)
        if self.cipher.has_mac:
            made = hmac.digest(mac_key, iv + values["ct"], "sha256")
            if not hmac.compare_digest(made, values["mac"]):
                raise WrongKey
        if not self.cipher.is_cbc:
            return decrypt_blocks(secret, cfb(iv), values["ct"])
        padded = decrypt_blocks(secret, modes.CBC(iv), values["ct"])
        if self.padding is Padding.PKCS7:
            return unpad(padded)
        return padded.rstrip(_FILL[self.padding])

    def _padded(self, plaintext: bytes, kept: int) -> bytes:
        if self.padding is Padding.PKCS7:
            return pad(plaintext)
        fill = _FILL[self.padding]
        if plaintext.endswith(fill):
            raise Unsupported(f"the plaintext ends in what padding {self.padding} is cut off as")
        least = len(plaintext) + (-len(plaintext) % BLOCK)
        if self.marks and self.padding is Padding.ASTERISK:
            return plaintext.ljust(least + BLOCK, fill)
        usual = (
            least
            if self.padding is Padding.ZERO and plaintext
            else (len(plaintext) // BLOCK + 1) * BLOCK
        )
        return plaintext.ljust(kept if least <= kept <= least + BLOCK and kept else usual, fill)
