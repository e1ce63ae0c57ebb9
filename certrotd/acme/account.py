"""The account at a CA: its key, and the URL the CA knows it by."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from josepy.jwk import JWK

from certrotd.acme.network import account_jwk
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.jsontext import parsed
from certrotd.pki import keys

if TYPE_CHECKING:
    from certrotd.state.ports import Folder

KEY, RECORD = "account.key", "account.json"
MAX_RECORD = 64 * 1024


@dataclass(frozen=True)
class Account:
    """An account key (kept out of repr) and the account's URL, which signs as ``kid``."""

    key: JWK = field(repr=False)
    url: str


class AccountFolder:
    """``account.key`` (PKCS#8) and ``account.json`` (url, directory, created) of one issuer.

    The key is the account: the URL can be asked for again, so a lost or unreadable account.json
    is written anew, while a key that cannot be read is never replaced.
    """

    def __init__(self, folder: Folder, *, directory: str) -> None:
        self._folder = folder
        self._directory = directory

    @contextlib.contextmanager
    def locked(self, deadline: Deadline) -> Iterator[None]:
        """Keep other threads and processes from making the account meanwhile; raises LockHeld."""
        with self._folder.locked(f"the account in {self._folder.place}", deadline):
            yield

    def at_hand(self, contact: Sequence[str]) -> tuple[JWK, str] | None:
        """The key and the URL of an account that the CA knows with these contacts.

        None where anything has to be made or told, for which the lock must be held. Raises as
        key() does.
        """
        with self._folder.reading():
            url = self.url()
            if not url or (self.contact() or ()) != tuple(contact):
                return None
            key = self.known_key()
            return None if key is None else (key, url)

    def key(self, key_type: keys.KeyType) -> JWK:
        """The account's key, made on first use; the lock must be held.

        Raises NeedsOperator for a key that cannot be used or is lost, Conflict where another has
        made one since the lock was lost, DiskTrouble.
        """
        known = self.known_key()
        if known is not None:
            return known
        key = keys.generate(key_type)
        self._folder.add(KEY, keys.to_pem(key))
        return self._jwk(key)

    def known_key(self) -> JWK | None:
        """The account's key if there is one; raises as key() does."""
        try:
            data = self._folder.read(KEY, limit=keys.MAX_KEY_BYTES)
            if data is not None:
                return self._jwk(keys.load(data, what=self._folder.where(KEY)))
        except InvalidInput as error:
            raise self._unusable(error.message) from None
        self._refuse_if_lost()
        return None

    def _jwk(self, key: keys.PrivateKey) -> JWK:
        jwk = account_jwk(key)
        if jwk is None:
            kind = keys.key_type_of(key.public_key())
            where = self._folder.where(KEY)
            raise self._unusable(f"{where} is {kind}, ACME accounts are RSA, P-256, P-384")
        return jwk

    def url(self) -> str:
        """The account's URL at this directory, "" if it has to be asked for."""
        url = self._read().get("url")
        return url if isinstance(url, str) else ""

    def contact(self) -> tuple[str, ...] | None:
        """The contacts that the CA was told last, None if that is not known."""
        known = self._read().get("contact")
        return tuple(map(str, known)) if isinstance(known, list) else None

    def remember(self, url: str, *, contact: Sequence[str] | None, now: datetime) -> None:
        """Write down the account's URL and what the CA was told; raises DiskTrouble."""
        known = self._read()
        created = known["created"] if known.get("url") == url and "created" in known else None
        record = {
            "url": url,
            "directory": self._directory,
            "created": created or now.isoformat(timespec="seconds"),
            "contact": None if contact is None else list(contact),
        }
        data = json.dumps(record, indent=2).encode() + b"\n"
        self._folder.write(RECORD, data)

    def _read(self) -> dict[str, Any]:
        """What is remembered of an account at this directory; nothing if it cannot be read."""
        try:
            record = parsed(self._folder.read(RECORD, limit=MAX_RECORD) or b"")
        except (InvalidInput, ValueError):
            return {}  # the CA finds the account again by its key
        ours = isinstance(record, dict) and record.get("directory") == self._directory
        return record if ours else {}

    def _refuse_if_lost(self) -> None:
        if RECORD in self._folder.names():
            raise NeedsOperator(
                f"{self._folder.where(KEY)} is gone, and {RECORD} beside it is of an account",
                hint="restore the key from a backup, or remove "
                f"{self._folder.where(RECORD)} to register a new account",
            )

    def _unusable(self, what: str) -> NeedsOperator:
        return NeedsOperator(
            what,
            hint=f"restore it from a backup; moving {self._folder.place} away registers a new "
            "account",
        )
