"""Values and files of symmetric-encryption, a Ruby gem: ``@EnC``, AES-CBC and (5.0) AES-GCM.

A value has the version of its key in a header; columns of old configurations have no header. The
initialization vector is random and in the header, or the key's own: then values are deterministic.
A file has a key of its own in its header, encrypted by the version's; with GCM, what exceeds 64 KiB
is written in chunks, each with a tag. GCM binds the header.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from functools import cached_property

from certrotd.codecs.aead import GCM, TAG, Aead, aead, opened
from certrotd.codecs.block import BLOCK, decrypt_cbc, encrypt_cbc
from certrotd.codecs.compression import deflate, inflate
from certrotd.codecs.encoding import Encoding
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.expectation import Expectation
from certrotd.codecs.port import KeyIds, Traits, bounded, key_number, usable
from certrotd.codecs.symmetric_header import (
    CBC,
    MAGIC,
    Header,
    has_header,
    read_header,
    with_tag,
    write_header,
)
from certrotd.codecs.symmetric_keys import (
    CHUNK,
    MOST_VERSION,
    NONCE,
    NONCE_PREFIX,
    chunk_nonce,
    fixed_iv,
    new_data_key,
    only_cbc,
    opened_data_key,
    version_of,
)
from certrotd.keyring.material import DataKey


@dataclass(frozen=True)
class _Form:
    """How a value is written."""

    header: bool
    compress: bool
    random_key: bool
    chunks: bool


@dataclass(frozen=True)
class SymmetricEncryption:
    """Of CBC, which has no MAC, it reads and writes only where ``plaintext`` is told.

    ``random_iv``, ``compress`` and ``header`` (``always_add_header``) are those of the application;
    ``file`` is for what it writes by ``Writer``. What replaces a value is compressed, has a header
    and a key of its own as that had. A value of no bytes is never encrypted: it stays as it is.
    """

    plaintext: Expectation | None = None
    encoding: Encoding = Encoding.BASE64STRICT
    random_iv: bool = True
    compress: bool = False
    header: bool = True
    file: bool = False

    @cached_property
    def traits(self) -> Traits:
        """Authenticated where no plaintext is told: it is all of GCM then."""
        return Traits(
            KeyIds.STRICT if self.header else KeyIds.NONE,
            GCM if self.plaintext is None else GCM | CBC,
            authenticated=self.plaintext is None,
            deterministic=not self.random_iv and not self.file,
            text=self.encoding is not Encoding.NONE,
            beginning=self.encoding.common(MAGIC) if self.header else b"",
        )

    def key_id_of(self, ciphertext: bytes) -> str | None:
        """The version in the header, None without a header."""
        header = self._read(ciphertext)
        return str(header.version) if isinstance(header, Header) else None

    def key_id_for(self, key: DataKey) -> str:
        """Its id, or its version: a number up to 255."""
        return str(version_of(key))

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext, decompressed."""
        usable(self.traits, key, associated_data)
        found = self._read(ciphertext)
        if isinstance(found, bytes):
            return self._expected(decrypt_cbc(only_cbc(key), fixed_iv(key), found))
        if found.version != version_of(key):
            raise WrongKey
        by_gcm = bool(found.tag or found.chunk)
        if not by_gcm and self.plaintext is None:
            raise Unsupported(
                "the ciphertext has no MAC: it is of CBC mode",
                hint="say what its plaintext looks like, and it is read",
            )
        data_key = opened_data_key(found, key)
        if (data_key.algorithm in GCM) is not by_gcm:
            raise WrongKey
        if by_gcm:
            content = _open_gcm(data_key, found)
        else:
            content = decrypt_cbc(data_key, found.iv or fixed_iv(key), found.body)
        content = inflate(content) if found.compressed else content
        return content if by_gcm else self._expected(content)

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The value; with ``random_iv`` off, the same for the same plaintext."""
        usable(self.traits, key, associated_data)
        if not bounded(plaintext):
            raise Unsupported("symmetric-encryption stores an empty value as it is, unencrypted")
        form = self._form(replacing)
        content = deflate(plaintext, as_gzip=self.file) if form.compress else plaintext
        if key.algorithm in GCM:
            stored = self._by_gcm(key, form, content, plaintext)
        else:
            stored = self._by_cbc(key, form, content)
        return bounded(self.encoding.encode(stored))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """The header up to the version, encoded: base64 has four; none where headers may lack."""
        if not self.header:
            return ()
        return self.encoding.beginnings(MAGIC + bytes([key_number(key_id, most=MOST_VERSION)]))

    def _read(self, ciphertext: bytes) -> Header | bytes:
        """The header, or what has none; raises CodecError."""
        data = self.encoding.decode(bounded(ciphertext))
        if self.header or has_header(data):
            header = read_header(data)
            if not (header.tag or header.chunk) and len(header.body) % BLOCK:
                raise Damaged("the ciphertext is not of whole blocks")
            return header
        if not data or len(data) % BLOCK:
            raise Damaged("the ciphertext is not of whole blocks")
        return data

    def _form(self, replacing: bytes | None) -> _Form:
        if replacing is None:
            return _Form(self.header, self.compress, random_key=self.file, chunks=self.file)
        old = self._read(replacing)
        if isinstance(old, bytes):
            return _Form(header=False, compress=False, random_key=False, chunks=False)
        chunks = self.file or bool(old.chunk)
        return _Form(True, old.compressed, random_key=bool(old.key), chunks=chunks)

    def _expected(self, plaintext: bytes) -> bytes:
        if self.plaintext is None or not self.plaintext.holds(plaintext):
            raise WrongKey
        return plaintext

    def _by_cbc(self, key: DataKey, form: _Form, content: bytes) -> bytes:
        random_iv = self.random_iv or form.random_key
        iv = os.urandom(BLOCK) if random_iv else b""
        if not (form.header or random_iv or form.compress):
            return encrypt_cbc(key, fixed_iv(key), content)
        data_key, wrapped = new_data_key(key) if form.random_key else (key, b"")
        header = write_header(
            version_of(key), compressed=form.compress, iv=iv, key=wrapped, tag=False
        )
        return header + encrypt_cbc(data_key, iv or fixed_iv(key), content)

    def _by_gcm(self, key: DataKey, form: _Form, content: bytes, plaintext: bytes) -> bytes:
        data_key, wrapped = new_data_key(key) if form.random_key else (key, b"")
        cipher = data_key.made(aead)
        if form.chunks and len(content) > CHUNK:
            prefix = os.urandom(NONCE_PREFIX)
            header = write_header(
                version_of(key),
                compressed=form.compress,
                iv=prefix,
                key=wrapped,
                chunk=CHUNK,
                tag=False,
            )
            return header + _sealed_chunks(cipher, prefix, content, header)
        if self.random_iv or form.random_key:
            iv = os.urandom(NONCE)
        else:
            iv = hmac.digest(key.material.reveal(), plaintext, hashlib.sha256)[:NONCE]
        header = write_header(
            version_of(key), compressed=form.compress, iv=iv, key=wrapped, tag=True
        )
        return with_tag(header, cipher.encrypt(iv, content, header))


def _open_gcm(key: DataKey, header: Header) -> bytes:
    cipher = key.made(aead)
    if not header.chunk:
        return opened(cipher, header.iv, header.body + header.tag, header.authenticated)
    frame = header.chunk + TAG
    starts = range(0, len(header.body), frame)
    if len(header.body) - starts[-1] < TAG:
        raise Damaged("the ciphertext's last chunk is too short for a tag")
    return b"".join(
        opened(
            cipher,
            chunk_nonce(header.iv, number, last=at == starts[-1]),
            header.body[at : at + frame],
            header.authenticated,
        )
        for number, at in enumerate(starts)
    )


def _sealed_chunks(cipher: Aead, prefix: bytes, content: bytes, header: bytes) -> bytes:
    starts = range(0, len(content), CHUNK)
    return b"".join(
        cipher.encrypt(
            chunk_nonce(prefix, number, last=at == starts[-1]), content[at : at + CHUNK], header
        )
        for number, at in enumerate(starts)
    )
