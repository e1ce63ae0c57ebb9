"""JSON Web Encryption in its compact form (RFC 7516 §7.1), by symmetric keys.

``header.encrypted key.iv.ciphertext.tag``, each in base64url: by the key itself (``dir``), or by a
key of the value's own, which A128GCMKW to A256GCMKW wrap (RFC 7518 §4.5, §4.7). ``kid`` in the
header names the key. The header is authenticated: re-encryption keeps ``typ`` and ``cty``.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import aead as ciphers
from cryptography.hazmat.primitives.ciphers import modes

from certrotd.codecs.aead import GCM, TAG, aead, opened
from certrotd.codecs.block import BLOCK, decrypt_blocks, encrypt_blocks, pad, unpad
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import KeyIds, Traits, bounded, usable
from certrotd.codecs.strict import json_object, text_field, unbase64url
from certrotd.keyring.material import MAX_ID, DataKey

_NONCE = 12
_KEPT = ("typ", "cty")
_KNOWN = frozenset({"alg", "enc", "kid", *_KEPT})
_WRAPPING = frozenset({"iv", "tag"})
_BY_GCM = {"A128GCM": 16, "A192GCM": 24, "A256GCM": 32}
_BY_CBC = {"A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64}
_CONTENT = _BY_GCM | _BY_CBC
"""The length of the key of each ``enc``, in bytes: of CBC half is the MAC's."""


class _Token(NamedTuple):
    """The parts of a value; ``protected`` is the header as it stands there."""

    protected: bytes
    header: Mapping[str, object]
    wrapped: bytes
    iv: bytes
    sealed: bytes
    tag: bytes


@dataclass(frozen=True)
class Jwe:
    """Compact values; ``wrapped``: each has a key of its own, and none is by the key itself.

    ``enc`` is the content encryption of new values that are ``wrapped``. What replaces a value has
    its ``enc``, but without ``wrapped`` the one that the length of the key says.
    """

    wrapped: bool = False
    enc: str = "A256GCM"

    def __post_init__(self) -> None:
        if self.enc not in _CONTENT:
            raise Unsupported(f"the content encryption of JWE is one of {', '.join(_CONTENT)}")

    @cached_property
    def traits(self) -> Traits:
        """Every member of a header begins with a letter, so that all begin alike."""
        return Traits(KeyIds.STRICT, GCM, beginning=b"eyJ")

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """``kid``, None without one."""
        return _kid(self._parsed(ciphertext))

    def key_id_for(self, key: DataKey) -> str:
        """Its id, or its version."""
        found = key.id or str(key.version)
        if not found.isascii():
            raise Unsupported("a kid of JWE is ASCII text here")
        return found

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext."""
        usable(self.traits, key, associated_data)
        token = self._parsed(ciphertext)
        if _kid(token) not in (None, self.key_id_for(key)):
            raise WrongKey
        bits = 8 * len(key.material)
        if not self.wrapped:
            if token.header["enc"] != f"A{bits}GCM":
                raise WrongKey
            return _open(key.material.reveal(), token)
        if token.header["alg"] != f"A{bits}GCMKW":
            raise WrongKey
        iv, tag = (unbase64url(text_field(token.header, name)) for name in ("iv", "tag"))
        return _open(opened(key.made(aead), iv, token.wrapped + tag), token)

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The value, with ``kid``, and with ``typ`` and ``cty`` of ``replacing``."""
        usable(self.traits, key, associated_data)
        bounded(plaintext)
        before = {} if replacing is None else self._parsed(replacing).header
        bits, wrapped = 8 * len(key.material), b""
        if not self.wrapped:
            header = {"alg": "dir", "enc": f"A{bits}GCM", "kid": self.key_id_for(key)}
            content_key = key.material.reveal()
        else:
            enc = str(before.get("enc", self.enc))
            header = {"alg": f"A{bits}GCMKW", "enc": enc, "kid": self.key_id_for(key)}
            content_key, nonce = os.urandom(_CONTENT[enc]), os.urandom(_NONCE)
            sealed = key.made(aead).encrypt(nonce, content_key, None)
            wrapped, tag = sealed[:-TAG], sealed[-TAG:]
            header |= {"iv": _text(nonce).decode(), "tag": _text(tag).decode()}
        header |= {name: str(before[name]) for name in _KEPT if name in before}
        protected = _text(json.dumps(header, separators=(",", ":")).encode())
        iv, data, tag = _seal(header["enc"], content_key, plaintext, protected)
        parts = (_text(wrapped), _text(iv), _text(data), _text(tag))
        return bounded(b".".join((protected, *parts)))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """The header as it is written here for ``dir``; others write it in other ways, too."""
        if self.wrapped:
            return ()
        headers = ({"alg": "dir", "enc": enc, "kid": key_id} for enc in _BY_GCM)
        return tuple(
            _text(json.dumps(each, separators=(",", ":")).encode()) + b"." for each in headers
        )

    def _parsed(self, ciphertext: bytes) -> _Token:
        parts = bounded(ciphertext).split(b".", 5)
        if len(parts) != 5:
            raise Damaged("the ciphertext is not of the five parts of a compact JWE")
        data, *rest = map(unbase64url, parts)
        if not data.startswith(b'{"'):
            raise Damaged("the ciphertext's header is no JSON object")
        header = json_object(data)
        self._check(header)
        wrapped, iv, sealed, tag = rest
        enc = str(header["enc"])
        half = _CONTENT[enc] // 2
        right = (_NONCE, TAG) if enc in _BY_GCM else (BLOCK, half)
        if (len(iv), len(tag)) != right or (enc in _BY_CBC and len(sealed) % BLOCK):
            raise Damaged("the ciphertext's iv, tag or content is of another length")
        if bool(wrapped) is not self.wrapped or (wrapped and len(wrapped) != _CONTENT[enc]):
            raise Damaged("the ciphertext's encrypted key is of another length")
        return _Token(parts[0], header, wrapped, iv, sealed, tag)

    def _check(self, header: Mapping[str, object]) -> None:
        if not header.keys() >= {"alg", "enc"}:
            raise Damaged("the ciphertext's header lacks alg or enc")
        known = _KNOWN | _WRAPPING if self.wrapped else _KNOWN
        if header.keys() - known:
            raise Unsupported("the ciphertext's header has members that are not known here")
        for name in header:
            text = text_field(header, name).decode("ascii")
            if len(text) > MAX_ID or not text.isprintable():
                words = f"is over {MAX_ID} characters or unprintable"
                raise Unsupported(f"the ciphertext's {name} {words}")
        algorithms = [f"{enc}KW" for enc in _BY_GCM] if self.wrapped else ["dir"]
        if header["alg"] not in algorithms or header["enc"] not in _CONTENT:
            raise Unsupported(
                f"the ciphertext is not by {' or '.join(algorithms)}, or its enc is not known"
            )
        if not self.wrapped:
            if header["enc"] not in _BY_GCM:
                raise Unsupported("the ciphertext's enc takes keys that are two keys in one")
            return
        iv, tag = (unbase64url(text_field(header, name)) for name in sorted(_WRAPPING))
        if (len(iv), len(tag)) != (_NONCE, TAG):
            raise Damaged("the ciphertext's header has an iv or a tag of another length")


def _kid(token: _Token) -> str | None:
    return str(token.header["kid"]) if "kid" in token.header else None


def _seal(enc: str, key: bytes, plaintext: bytes, protected: bytes) -> tuple[bytes, bytes, bytes]:
    """The iv, the ciphertext and the tag (RFC 7518 §5.2, §5.3)."""
    if enc in _BY_GCM:
        iv = os.urandom(_NONCE)
        sealed = ciphers.AESGCM(key).encrypt(iv, plaintext, protected)
        return iv, sealed[:-TAG], sealed[-TAG:]
    iv, half = os.urandom(BLOCK), len(key) // 2
    data = encrypt_blocks(key[half:], modes.CBC(iv), pad(plaintext))
    return iv, data, _mac(key[:half], protected, iv, data)


def _open(key: bytes, token: _Token) -> bytes:
    if token.header["enc"] in _BY_GCM:
        return opened(ciphers.AESGCM(key), token.iv, token.sealed + token.tag, token.protected)
    half = len(key) // 2
    made = _mac(key[:half], token.protected, token.iv, token.sealed)
    if not hmac.compare_digest(made, token.tag):
        raise WrongKey
    return unpad(decrypt_blocks(key[half:], modes.CBC(token.iv), token.sealed))


def _mac(key: bytes, protected: bytes, iv: bytes, data: bytes) -> bytes:
    """Half of an HMAC whose hash has twice the length of its key (RFC 7518 §5.2.2.1)."""
    signed = protected + iv + data + (8 * len(protected)).to_bytes(8)
    return hmac.digest(key, signed, f"sha{16 * len(key)}")[: len(key)]


def _text(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
