"""The keys of symmetric-encryption: a version's own, and those in the headers of files."""

from __future__ import annotations

import os
from dataclasses import replace

from certrotd.codecs.aead import GCM, aead, opened
from certrotd.codecs.block import BLOCK, decrypt_cbc, encrypt_cbc
from certrotd.codecs.errors import Unsupported, WrongKey
from certrotd.codecs.port import key_number
from certrotd.codecs.symmetric_header import (
    CBC,
    Header,
    has_header,
    read_header,
    with_tag,
    write_header,
)
from certrotd.keyring.material import DataKey, Material

MOST_VERSION = 255
NONCE = 12
NONCE_PREFIX = 7
CHUNK = 64 * 1024
"""Of plaintext, as the gem writes it."""


def version_of(key: DataKey) -> int:
    """The number by which headers name a key; raises Unsupported above 255."""
    return key_number(key.id or str(key.version), most=MOST_VERSION)


def only_cbc(key: DataKey) -> DataKey:
    """``key``; raises WrongKey unless it is of CBC mode."""
    if key.algorithm not in CBC:
        raise WrongKey
    return key


def fixed_iv(key: DataKey) -> bytes:
    """The initialization vector of a version; raises Unsupported for a key without one."""
    if len(key.iv) != BLOCK:
        raise Unsupported(f"key version {key.version} has no initialization vector of 16 bytes")
    return key.iv


def opened_data_key(header: Header, key: DataKey) -> DataKey:
    """What the body is encrypted with: the header's key, opened by ``key``, or ``key``."""
    algorithm = header.cipher or key.algorithm
    if not header.key:
        if algorithm is not key.algorithm:
            raise WrongKey
        return key
    if (key.algorithm in GCM) is not has_header(header.key):
        raise WrongKey
    if key.algorithm in GCM:
        inner = read_header(header.key)
        if not inner.tag or inner.key or inner.compressed or inner.version != header.version:
            raise Unsupported("the key in the ciphertext's header is of a form that no gem writes")
        sealed = inner.body + inner.tag
        secret = opened(key.made(aead), inner.iv, sealed, inner.authenticated)
    else:
        secret = decrypt_cbc(key, fixed_iv(key), header.key)
    if len(secret) != algorithm.key_bytes:
        raise WrongKey
    return replace(key, algorithm=algorithm, material=Material(secret))


def new_data_key(key: DataKey) -> tuple[DataKey, bytes]:
    """A fresh key of the kind of ``key``, and that key encrypted by ``key``."""
    secret = os.urandom(key.algorithm.key_bytes)
    if key.algorithm in GCM:
        iv = os.urandom(NONCE)
        header = write_header(version_of(key), compressed=False, iv=iv, tag=True)
        wrapped = with_tag(header, key.made(aead).encrypt(iv, secret, header))
    else:
        wrapped = encrypt_cbc(key, fixed_iv(key), secret)
    return replace(key, material=Material(secret)), wrapped


def chunk_nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    """Of a chunk: so that none is moved, repeated or cut off."""
    return prefix + number.to_bytes(4) + bytes([last])
