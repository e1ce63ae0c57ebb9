"""Values of Ansible Vault: whole files, and those within YAML and JSON.

``$ANSIBLE_VAULT;1.1;AES256``, or ``1.2`` with a vault id at its end, then lines of hex of three hex
texts with newlines between: the salt, an HMAC-SHA256, and the ciphertext of AES-256-CTR with PKCS#7
padding. Cipher key, HMAC key and counter come from the password by PBKDF2-HMAC-SHA256. A vault id
is a hint, which is not authenticated, and tells no key: the HMAC does.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import modes

from certrotd.codecs.block import BLOCK, decrypt_blocks, encrypt_blocks, pad, unpad
from certrotd.codecs.errors import Damaged, Unsupported, WrongKey
from certrotd.codecs.port import MAX_BYTES, KeyIds, Traits, bounded, too_large, usable
from certrotd.keyring.material import Algorithm, DataKey

MARK = b"$ANSIBLE_VAULT;"
_SALT = 32
_KEY = 32
_MAC = 32
_LINE = 80
_LONGEST_ID = 128
_HEX = re.compile(rb"[0-9a-f]+")
_PLAIN = b"1.1;AES256"
_LABELLED = b"1.2;AES256;"
_TRAITS = Traits(KeyIds.NONE, frozenset({Algorithm.PASSPHRASE}), beginning=MARK)


class _Value(NamedTuple):
    """What a value is made of; ``form`` is its first line behind the mark."""

    form: bytes
    salt: bytes
    mac: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class AnsibleVault:
    """Values without a newline at their end.

    With ``key_ids`` what it writes has the id of its key as vault id; else it keeps that of what it
    replaces, and new values have none.
    """

    key_ids: bool = False
    iterations: int = 10_000
    traits: Traits = _TRAITS

    def key_id_of(self, ciphertext: bytes) -> None:
        """None; raises Damaged for anything but a value."""
        _parsed(ciphertext)

    def key_id_for(self, key: DataKey) -> None:
        """None."""
        return

    def decrypt(self, ciphertext: bytes, key: DataKey, associated_data: bytes = b"") -> bytes:
        """The plaintext."""
        usable(_TRAITS, key, associated_data)
        found = _parsed(ciphertext)
        secret = self._derived(key, found.salt)
        mac = hmac.digest(secret[_KEY : 2 * _KEY], found.ciphertext, hashlib.sha256)
        if not hmac.compare_digest(mac, found.mac):
            raise WrongKey
        return unpad(decrypt_blocks(secret[:_KEY], modes.CTR(secret[2 * _KEY :]), found.ciphertext))

    def encrypt(
        self,
        plaintext: bytes,
        key: DataKey,
        associated_data: bytes = b"",
        *,
        replacing: bytes | None = None,
    ) -> bytes:
        """The value, in lines of 80 characters as Ansible writes it."""
        usable(_TRAITS, key, associated_data)
        if 4 * len(bounded(plaintext)) > MAX_BYTES:
            raise too_large(len(plaintext))
        form = _PLAIN if replacing is None else _parsed(replacing).form
        if self.key_ids:
            form = _LABELLED + _label(key)
        salt = os.urandom(_SALT)
        secret = self._derived(key, salt)
        sealed = encrypt_blocks(secret[:_KEY], modes.CTR(secret[2 * _KEY :]), pad(plaintext))
        mac = hmac.digest(secret[_KEY : 2 * _KEY], sealed, hashlib.sha256)
        text = b"\n".join(each.hex().encode() for each in (salt, mac, sealed)).hex().encode()
        lines = (text[at : at + _LINE] for at in range(0, len(text), _LINE))
        return bounded(b"\n".join([MARK + form, *lines]))

    def sql_prefixes(self, key_id: str) -> tuple[bytes, ...]:
        """None."""
        return ()

    def _derived(self, key: DataKey, salt: bytes) -> bytes:
        secret, length = key.material.reveal(), 2 * _KEY + BLOCK
        return hashlib.pbkdf2_hmac("sha256", secret, salt, self.iterations, length)


def _label(key: DataKey) -> bytes:
    label = (key.id or str(key.version)).encode()
    if b";" in label or label != label.strip():
        raise Unsupported(f"the id of key version {key.version} is no vault id")
    return label


def _parsed(value: bytes) -> _Value:
    first, *lines = bounded(value).split(b"\n")
    if not first.startswith(MARK):
        raise Damaged("the value does not begin as those of Ansible Vault do")
    form = first[len(MARK) :]
    if not form.startswith(_LABELLED) and form != _PLAIN:
        raise Unsupported("the value is of a format or cipher of Ansible Vault that is not known")
    if form.startswith(_LABELLED) and not form[len(_LABELLED) :].strip():
        raise Damaged("the value has an empty vault id")
    if not lines or not all(map(_HEX.fullmatch, lines)):
        raise Damaged("the value is not of lines of lower-case hex")
    try:
        parts = bytes.fromhex(b"".join(lines).decode()).split(b"\n")
        if len(parts) != 3 or not all(map(_HEX.fullmatch, parts)):
            raise Damaged("the value is not of three parts")
        salt, mac, ciphertext = (bytes.fromhex(each.decode()) for each in parts)
    except ValueError:
        raise Damaged("the value was cut short") from None
    if len(mac) != _MAC or not ciphertext or len(ciphertext) % BLOCK:
        raise Damaged("the value has parts of a length that none has")
    return _Value(form, salt, mac, ciphertext)
