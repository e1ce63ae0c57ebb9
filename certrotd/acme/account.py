"""The account at a CA, as files: its key, and the URL the CA knows it by."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from josepy.jwk import JWK

from certrotd.acme.network import account_jwk
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.pki import keys
from certrotd.rotation.files import is_there, make_directory, read_file, write_file
from certrotd.rotation.lock import hold

MAX_RECORD = 64 * 1024


@dataclass(frozen=True)
class Account:
    """An account key (kept out of repr) and the account's URL, which signs as ``kid``."""

    key: JWK = field(repr=False)
    url: str


class AccountFolder:
    """``account.key`` (PKCS#8, 0600) and ``account.json`` (url, directory, created) of one issuer.

    The key is the account: the URL can be asked for again, so a lost or unreadable account.json
    is written anew, while a key that cannot be read is never replaced.
    """

    def __init__(self, path: Path, *, directory: str) -> None:
        self._path = path
        self._directory = directory
        self._key_file = path / "account.key"
        self._record = path / "account.json"

    @contextlib.contextmanager
    def locked(self, deadline: Deadline) -> Iterator[None]:
        """Keep other threads and processes from making the account meanwhile; raises LockHeld."""
        with hold(
            self._path / "lock",
            what=f"the account in {self._path}",
            command="certrotd",
            now=deadline.clock.now(),
            wait=deadline,
        ):
            yield

    def key(self, key_type: keys.KeyType) -> JWK:
        """The account's key, made on first use; the lock must be held.

        Raises NeedsOperator for a key that cannot be used or is lost, DiskTrouble.
        """
        known = self.known_key()
        if known is not None:
            return known
        key = keys.generate(key_type)
        make_directory(self._path, mode=0o700)
        write_file(self._key_file, keys.to_pem(key), mode=0o600)
        return self._jwk(key)

    def known_key(self) -> JWK | None:
        """The account's key if there is one; raises as key() does."""
        try:
            data = read_file(self._key_file, limit=keys.MAX_KEY_BYTES, follow=False)
            return self._jwk(keys.load(data, what=str(self._key_file)))
        except FileNotFoundError:
            self._refuse_if_lost()
            return None
        except InvalidInput as error:
            raise self._unusable(error.message) from None

    def _jwk(self, key: keys.PrivateKey) -> JWK:
        jwk = account_jwk(key)
        if jwk is None:
            kind = keys.key_type_of(key.public_key())
            raise self._unusable(f"{self._key_file} is {kind}, ACME accounts are RSA, P-256, P-384")
        return jwk

    def url(self) -> str:
        """The account's URL at this directory, "" if it has to be asked for."""
        try:
            record = json.loads(read_file(self._record, limit=MAX_RECORD, follow=False))
            if record["directory"] == self._directory and isinstance(record["url"], str):
                return str(record["url"])
        except (FileNotFoundError, InvalidInput, ValueError, KeyError, TypeError, RecursionError):
            return ""  # the CA finds the account again by its key
        return ""

    def remember(self, url: str, *, created: str) -> None:
        """Write down the account's URL; raises DiskTrouble."""
        record = {"url": url, "directory": self._directory, "created": created}
        data = json.dumps(record, indent=2).encode() + b"\n"
        write_file(self._record, data, mode=0o600)

    def _refuse_if_lost(self) -> None:
        if is_there(self._record):
            raise NeedsOperator(
                f"{self._key_file} is gone, and {self._record.name} beside it is of an account",
                hint="restore the key from a backup, or remove "
                f"{self._record} to register a new account",
            )

    def _unusable(self, what: str) -> NeedsOperator:
        return NeedsOperator(
            what,
            hint=f"restore it from a backup; moving {self._path} away registers a new account",
        )
