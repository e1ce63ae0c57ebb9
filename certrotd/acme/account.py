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
from certrotd.config.issuers import ACCOUNT_KEY
from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.jsontext import parsed
from certrotd.pki import keys
from certrotd.rotation.stopping import TurnDeadline

if TYPE_CHECKING:
    from certrotd.state.ports import Folder, Lease

KEY, RECORD = ACCOUNT_KEY, "account.json"
NEXT = "account.next.key"
"""The key that a change of keys is to end with; while it is there, nobody knows whether it has."""
MAX_RECORD = 64 * 1024


@dataclass(frozen=True)
class Account:
    """An account key (kept out of repr) and the account's URL, which signs as ``kid``."""

    key: JWK = field(repr=False)
    url: str


class AccountFolder:
    """``account.key`` (PKCS#8) and ``account.json`` (url, directory, created) of one issuer.

    The key is the account: the URL can be asked for again, so a lost or unreadable account.json
    is written anew, while a key that cannot be read is never replaced. Beside them is
    ``account.next.key`` while the key is being changed.
    """

    def __init__(self, folder: Folder, *, directory: str) -> None:
        self._folder = folder
        self._directory = directory

    @contextlib.contextmanager
    def locked(self, deadline: Deadline) -> Iterator[Lease]:
        """Keep other threads and processes from making the account meanwhile.

        Raises LockHeld, and Stopped where it is held when the process is told to stop.
        """
        what = f"the account in {self._folder.place}"
        with self._folder.locked(what, TurnDeadline(deadline)) as lease:
            yield lease

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self._folder.place

    def at_hand(self, contact: Sequence[str]) -> tuple[JWK, str] | None:
        """The key and the URL of an account that the CA knows with these contacts.

        None where anything has to be made or told, for which the lock must be held. Raises as
        key() does.
        """
        with self._folder.reading():
            url = self.url()
            if not url or (self.contact() or ()) != tuple(contact) or self.deactivated():
                return None
            if self.is_changing():
                return None
            key = self.known_key()
            return None if key is None else (key, url)

    def signs_with(self, key: JWK) -> bool:
        """Whether the account is used with this key, and no other may be its own by now."""
        with self._folder.reading():
            return not (self.deactivated() or self.is_changing()) and self.known_key() == key

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
        found = self.kept_key()
        if found is None:
            self._refuse_if_lost()
        return found

    def kept_key(self) -> JWK | None:
        """As known_key(), also where a key is lost: for one that is about to be restored."""
        return self._load(KEY)

    def put_key(self, key: keys.PrivateKey) -> None:
        """Have this key instead of the one that is there, if any; the lock must be held."""
        self._folder.write(KEY, keys.to_pem(key))

    def _load(self, name: str) -> JWK | None:
        try:
            data = self._folder.read(name, limit=keys.MAX_KEY_BYTES)
            if data is None:
                return None
            return self._jwk(keys.load(data, what=self._folder.where(name)), name)
        except InvalidInput as error:
            raise self._unusable(error.message) from None

    def _jwk(self, key: keys.PrivateKey, name: str = KEY) -> JWK:
        jwk = account_jwk(key)
        if jwk is None:
            kind = keys.key_type_of(key.public_key())
            where = self._folder.where(name)
            raise self._unusable(f"{where} is {kind}, ACME accounts are RSA, P-256, P-384")
        return jwk

    # A change of the key: the new one is kept beside the old one before the CA hears of it.

    def is_changing(self) -> bool:
        """Whether a change of the key was begun whose end is not known."""
        return NEXT in self._folder.names()

    def next_key(self) -> JWK | None:
        """The key of a change that was begun; raises as key() does."""
        return self._load(NEXT)

    def changing_since(self) -> datetime | None:
        """When the change of the key was begun, None if that is not known."""
        return moment_of(self._read().get("changing"))

    def begin_change(self, key_type: keys.KeyType, *, now: datetime) -> JWK:
        """The key to change to, kept durably; that of a change that was begun before, if any.

        Raises as key() does.
        """
        self.begin_doubt(now=now)
        begun = self.next_key()
        if begun is not None:
            return begun
        key = keys.generate(key_type)
        self._folder.add(NEXT, keys.to_pem(key))
        return self._jwk(key, NEXT)

    def begin_doubt(self, *, now: datetime) -> None:
        """Write down that from now on it is in doubt which key the CA knows."""
        self._update(changing=now.isoformat(timespec="seconds"))

    def promote(self, key: JWK) -> None:
        """Have the new key be the account's, whole or not at all; the change is not ended yet."""
        self._folder.write(KEY, keys.to_pem(key.key))

    def end_change(self) -> None:
        """Take the file of the new key away: it is the account's by now, or is to be none."""
        self._folder.remove(NEXT)
        if "changing" in self._read():
            self._update(changing=None)

    # The record.

    def url(self) -> str:
        """The account's URL at this directory, "" if it has to be asked for."""
        url = self._read().get("url")
        return url if isinstance(url, str) else ""

    def contact(self) -> tuple[str, ...] | None:
        """The contacts that the CA was told last, None if that is not known."""
        known = self._read().get("contact")
        return tuple(map(str, known)) if isinstance(known, list) else None

    def created(self) -> datetime | None:
        """When the account was made or found, None if that is not known."""
        return moment_of(self._read().get("created"))

    def deactivated(self) -> datetime | None:
        """When the account was deactivated, None if it was not."""
        return moment_of(self._read().get("deactivated"))

    def remember(self, url: str, *, contact: Sequence[str] | None, now: datetime) -> None:
        """Write down the account's URL and what the CA was told; raises DiskTrouble."""
        known = self._read()
        kept = known if known.get("url") == url and "created" in known else {}
        self._update(
            url=url,
            created=kept.get("created") or now.isoformat(timespec="seconds"),
            contact=None if contact is None else list(contact),
            deactivated=None,
        )

    def deactivate(self, *, now: datetime) -> None:
        """Write down that the account can do nothing any more; raises DiskTrouble."""
        self._update(deactivated=now.isoformat(timespec="seconds"))

    def _update(self, **changes: Any) -> None:
        record = {**self._read(), "directory": self._directory, **changes}
        shown = {key: value for key, value in record.items() if value is not None}
        data = json.dumps(shown, indent=2).encode() + b"\n"
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


def kind_of(key: JWK) -> str:
    """The type of an account key, as ``account_key`` has it."""
    return keys.key_type_of(keys.load(keys.to_pem(key.key)).public_key())


def moment_of(text: object) -> datetime | None:
    """The moment that a record names, None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else None
