"""The key that signs reports: Ed25519 in a file, whose public half anybody may have.

A signature is detached, 64 bytes, over the bytes of the file as they are (RFC 8032).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from certrotd.errors import InvalidInput, NeedsOperator, ProofFailed
from certrotd.files.disktrouble import DiskTrouble
from certrotd.files.reading import read_status
from certrotd.files.writing import create_file, make_directory, write_file

_MAX_PEM = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SigningKeyUnfit(NeedsOperator):
    """There is no such key, or others can read it, or it is none."""


@dataclass(frozen=True)
class SigningKey:
    """A private key; its repr shows nothing of it."""

    _key: Ed25519PrivateKey

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``: 64 bytes, the same each time."""
        return self._key.sign(data)

    @property
    def public_pem(self) -> bytes:
        """The public key, for whoever verifies."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def id(self) -> str:
        """What names it: SHA-256 of its SubjectPublicKeyInfo, the first 64 bits in hex."""
        return key_id(self._key.public_key())

    def __repr__(self) -> str:
        return f"<signing key {self.id}>"


def make(path: Path) -> SigningKey:
    """A new key at ``path``, mode 0600, durable when this returns.

    Raises SigningKeyUnfit over anything there, DiskTrouble if it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    make_directory(path.parent, mode=0o700)
    try:
        create_file(path, pem, mode=0o600)
    except DiskTrouble as error:
        if error.errno != errno.EEXIST:
            raise
        raise SigningKeyUnfit(
            f"there is something at {path} already", hint="a signing key is never made over another"
        ) from None
    return SigningKey(key)


def load(path: Path) -> SigningKey:
    """The key at ``path``; raises SigningKeyUnfit or DiskTrouble."""
    try:
        pem, status = read_status(path, limit=_MAX_PEM, follow=False)
    except FileNotFoundError:
        raise SigningKeyUnfit(
            f"the signing key {path} is not there", hint="make one, or restore it"
        ) from None
    except InvalidInput as error:
        raise SigningKeyUnfit(error.message, hint=error.hint) from None
    if status.st_mode & _OTHERS:
        raise SigningKeyUnfit(
            f"the signing key {path} can be read or written by others than its owner",
            hint=f"chmod 0600 {path}, and make another if anybody may have read it",
        )
    if status.st_uid not in (0, os.geteuid()):
        raise SigningKeyUnfit(
            f"the signing key {path} belongs to user {status.st_uid}",
            hint="it must be root's, or of the user certrotd runs as",
        )
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyUnfit(
            f"{path} holds no Ed25519 private key", hint="restore it, or make another elsewhere"
        )
    return SigningKey(key)


def write_signed(path: Path, data: bytes, key: SigningKey) -> None:
    """Write ``data``, its signature beside it (.sig) and the public key (.pub).

    Raises DiskTrouble; the signature comes last.
    """
    write_file(path, data, mode=0o644)
    write_file(path.with_name(f"{path.name}.pub"), key.public_pem, mode=0o644)
    write_file(path.with_name(f"{path.name}.sig"), key.sign(data), mode=0o644)


def verify(public_pem: bytes, data: bytes, signature: bytes) -> None:
    """Whether the holder of that key signed ``data``; raises ProofFailed, or InvalidInput."""
    try:
        key = serialization.load_pem_public_key(public_pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput("this is no Ed25519 public key in PEM")
    try:
        key.verify(signature, data)
    except InvalidSignature:
        raise ProofFailed(
            f"the signature is not that of the key {key_id(key)} over this file",
            hint="the file was changed, or another key signed it",
        ) from None


def key_id(key: Ed25519PublicKey) -> str:
    """As SigningKey.id."""
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()[:16]
