"""What people do with the account at a CA: look at it, change its key, end it, bring one along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from josepy.b64 import b64decode, b64encode
from josepy.jwk import JWK

from certrotd.acme.account import Account, AccountFolder, kind_of
from certrotd.acme.client import Client, Clients, refuse_deactivated
from certrotd.acme.key_change import Act, KeyChange, find_account
from certrotd.acme.network import Payload, account_jwk
from certrotd.acme.problems import Refused
from certrotd.acme.registering import register
from certrotd.clock import Deadline
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import AcmeEntry
from certrotd.errors import Failure, InvalidInput, NeedsOperator, one_line
from certrotd.jsontext import parsed
from certrotd.pki import keys
from certrotd.state.ports import Lease

MOST_CONTACTS = 20


@dataclass(frozen=True)
class AtTheCa:
    """What the CA says of an account; ``binding`` is the key id of its external binding.

    ``terms`` is whether its terms are agreed to; None where it does not say.
    """

    status: str
    contact: tuple[str, ...] = ()
    terms: bool | None = None
    binding: str = ""


@dataclass(frozen=True)
class Shown:
    """What is known of the account of one issuer, here and at the CA.

    ``key_type`` is empty without an account; ``trouble`` is why the CA or the folder did not tell.
    """

    url: str = ""
    contact: tuple[str, ...] = ()
    key_type: str = ""
    thumbprint: str = ""
    created: datetime | None = None
    deactivated: datetime | None = None
    changing_since: datetime | None = None
    is_changing: bool = False
    at_ca: AtTheCa | None = None
    trouble: str = ""


@dataclass(frozen=True)
class _Open:
    """A client, and the lock of the account."""

    client: Client
    lease: Lease


class AccountManager:
    """The life of the account of one issuer, beside the orders that are placed with it.

    What changes anything takes the lock that registering takes. Everything raises what asking the
    CA raises, LockHeld and DiskTrouble.
    """

    def __init__(self, entry: AcmeEntry, context: IssuerContext, clients: Clients) -> None:
        self._entry = entry
        self._name = context.name
        self._site = context.site
        self._clock = context.clock
        self._clients = clients
        self._folder = AccountFolder(context.folder, directory=entry.directory)

    def show(self, *, deadline: Deadline) -> Shown:
        """What is known of the account; nothing is registered or written."""
        folder = self._folder
        key = folder.known_key()
        if key is None:
            return Shown()
        at_ca, url, trouble = None, folder.url(), ""
        try:
            at_ca, url = self._asked(key, url, deadline)
        except Failure as failure:
            trouble = failure.message
        return Shown(
            url=url,
            contact=folder.contact() or (),
            key_type=kind_of(key),
            thumbprint=b64encode(key.thumbprint()).decode(),
            created=folder.created(),
            deactivated=folder.deactivated(),
            changing_since=folder.changing_since() if folder.is_changing() else None,
            is_changing=folder.is_changing(),
            at_ca=at_ca,
            trouble=trouble,
        )

    def rollover(self, *, deadline: Deadline) -> Account:
        """Change the key to a new one of the configured type (RFC 8555 §7.3.5); the account now.

        One that was broken off before, and that the CA has carried out, is finished instead.
        """
        now = self._clock.now()
        with self._opened(deadline) as opened:
            refuse_deactivated(self._folder, self._name)
            change = self._change(opened)
            begun = self._folder.is_changing()
            if not begun or change.settle(now=now).act is not Act.FINISH:
                old = self._needed()
                url = self._known_url(opened.client, old)
                if url != self._folder.url():
                    self._folder.remember(url, contact=None, now=now)
                change.begin(old, url, keys.KeyType(self._entry.account_key), now=now)
            return Account(self._needed(), self._folder.url())

    def deactivate(self, *, deadline: Deadline) -> str:
        """End the account for good (RFC 8555 §7.3.6); its URL.

        Repeatable. Nothing is ordered any more until register_another().
        """
        now = self._clock.now()
        with self._opened(deadline) as opened:
            if self._folder.deactivated() is not None:
                return self._folder.url()
            if self._folder.is_changing():
                self._change(opened).settle(now=now)
            key = self._needed()
            url = self._folder.url() or self._known_url(opened.client, key)
            self._site.record("account.deactivation_begun", url=url)
            opened.lease.check()
            opened.client.net.sign_as(key, url)
            try:
                response = opened.client.post(url, Payload({"status": "deactivated"}))
                status = read_account(response.content).status
            except Refused:
                if not self._is_ended(opened.client, key):  # by a request whose answer was lost
                    raise
                status = "deactivated"
            if status != "deactivated":
                raise NeedsOperator(f"the CA {self._name} was asked, but the account is {status}")
            self._site.record("account.deactivated", url=url)
            self._folder.deactivate(now=now)
            return url

    def register_another(self, *, deadline: Deadline) -> str:
        """Register a new account, with a new key, in the place of one that has ended; its URL.

        A key that the CA refused to register is replaced, too. Raises NeedsOperator while the CA
        knows the old account as valid, or has forgotten it; Transient where it cannot tell yet.
        """
        now = self._clock.now()
        with self._opened(deadline, lost=True) as opened:
            old, client = self._folder.url(), opened.client
            ended = self._folder.deactivated() is not None
            if self._folder.is_changing() and not ended:
                self._change(opened).settle(now=now)  # the CA may have the new key alone by now
            if not ended and (known := self._folder.known_key()) is not None:
                # a key of a kind that the CA refuses has no account, and never had one
                if not self._is_ended(client, known, or_none=not old):
                    raise NeedsOperator(
                        f"the issuer {self._name} has an account that is not deactivated",
                        hint=f"`certrotd account deactivate {self._name}` ends it; `certrotd "
                        f"account rollover {self._name}` gives it a new key",
                    )
                self._folder.deactivate(now=now)  # so that nothing is ordered with half of each
            key = keys.generate(keys.KeyType(self._entry.account_key))
            jwk = account_jwk(key)
            assert jwk is not None, "every configurable type is one"
            opened.lease.check()
            self._folder.put_key(key)
            self._folder.end_change()
            client.net.sign_as(jwk, "")
            url, _ = register(client, self._entry, self._name)
            self._site.record(
                "account.registered", url=url, directory=self._entry.directory, instead_of=old
            )
            self._folder.remember(url, contact=self._entry.contact, now=now)
            return url

    def keep_key(self, key: keys.PrivateKey, *, deadline: Deadline) -> bool:
        """Have this key before the CA is ever asked, if there is none; whether it is there now.

        Nothing is asked: the CA tells the account's URL with the first order. Raises InvalidInput
        for a key that is of no account's kind.
        """
        jwk = account_jwk(key)
        if jwk is None:
            raise _of_no_account(key)
        with self._folder.locked(deadline) as lease:
            there = self._folder.kept_key()
            if there is None and not self._folder.url():
                kind = kind_of(jwk)
                self._site.record("account.imported", url="", key=kind, instead_of="")
                lease.check()
                self._folder.put_key(key)
                return True
            return there == jwk

    def import_key(self, key: keys.PrivateKey, *, deadline: Deadline) -> str:
        """Use the account that the CA knows this key by; its URL.

        Repeatable. Raises NeedsOperator where the CA does not know it, or where another account is
        there that is not deactivated; InvalidInput for a key that is of no account's kind.
        """
        jwk = account_jwk(key)
        if jwk is None:
            raise _of_no_account(key)
        now = self._clock.now()
        with self._opened(deadline, lost=True) as opened:
            old = self._folder.url()
            replaceable = self._folder.deactivated() is not None
            if self._folder.is_changing() and not replaceable:
                self._change(opened).settle(now=now)
            there = self._folder.kept_key()
            if there not in (None, jwk) and not replaceable:
                raise self._another(old or "a key")
            try:
                url = find_account(opened.client, jwk)
            except Refused as refused:
                if refused.code != "unauthorized":
                    raise
                raise NeedsOperator(f"the account of this key is of no use: {refused}") from refused
            if url is None:
                raise NeedsOperator(
                    f"the CA {self._name} knows no account of this key",
                    hint=f"is {self._entry.directory} the directory that the account is at?",
                )
            if there is None and old not in ("", url) and not replaceable:
                raise self._another(old)
            kind = kind_of(jwk)
            instead = "" if old == url else old
            self._site.record("account.imported", url=url, key=kind, instead_of=instead)
            opened.lease.check()
            if there != jwk:
                self._folder.put_key(key)
                self._folder.end_change()  # which was one of the account before
            if old != url or replaceable or there is None:
                self._folder.remember(url, contact=None, now=now)
            return url

    @contextmanager
    def _opened(self, deadline: Deadline, *, lost: bool = False) -> Iterator[_Open]:
        """The account for a block in which nobody else changes it.

        Unless it may be ``lost``, there must be one.
        """
        deadline = deadline.within(self._entry.timeout.total_seconds())
        with self._clients.visit(deadline) as client, self._folder.locked(deadline) as lease:
            if not lost:
                self._needed()
            yield _Open(client, lease)

    def _change(self, opened: _Open) -> KeyChange:
        return KeyChange(opened.client, self._folder, opened.lease, self._site, self._name)

    def _needed(self) -> JWK:
        key = self._folder.known_key()
        if key is None:
            raise NeedsOperator(
                f"the issuer {self._name} has no account yet",
                hint="its first order registers one; `certrotd account import` brings one along",
            )
        return key

    def _known_url(self, client: Client, key: JWK) -> str:
        url = find_account(client, key)
        if url is None:
            raise NeedsOperator(
                f"the CA {self._name} does not know the account, or has forgotten it",
                hint="the next order registers it again, with the same key",
            )
        return url

    def _is_ended(self, client: Client, key: JWK, *, or_none: bool = False) -> bool:
        """Whether the CA says that the account of the key has ended, ``or_none`` has this key."""
        try:
            return find_account(client, key) is None and or_none
        except Refused as refused:
            if refused.code != "unauthorized":
                raise
            return True

    def _another(self, what: str) -> NeedsOperator:
        return NeedsOperator(
            f"{self._folder.place} has another account, {what}: it is not replaced",
            hint=f"`certrotd account deactivate {self._name}` ends it; or move "
            f"{self._folder.place} away",
        )

    def _asked(self, key: JWK, url: str, deadline: Deadline) -> tuple[AtTheCa, str]:
        """What the CA says of the account, and its URL; of the new key where it knows that one."""
        with self._clients.visit(deadline) as client:
            new = self._folder.next_key()
            try:
                return self._read(client, key, url)
            except Refused:
                if new is None:
                    raise
                return self._read(client, new, url)

    def _read(self, client: Client, key: JWK, url: str) -> tuple[AtTheCa, str]:
        url = url or self._known_url(client, key)
        client.net.sign_as(key, url)
        return read_account(client.post(url).content), url


def read_account(content: bytes) -> AtTheCa:
    """An account as a CA shows it (RFC 8555 §7.1.2); raises NeedsOperator for anything else."""
    try:
        data = parsed(content)
        status = data["status"]
        contact = data.get("contact") or []
        terms = data.get("termsOfServiceAgreed")
        if not isinstance(status, str) or not isinstance(contact, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NeedsOperator("the CA's answer is not an account") from None
    return AtTheCa(
        one_line(status[:40]),
        tuple(one_line(str(each)) for each in contact[:MOST_CONTACTS]),
        terms if isinstance(terms, bool) else None,
        _binding(data.get("externalAccountBinding")),
    )


def _binding(value: Any) -> str:
    """The key id of an external account binding (RFC 8555 §7.3.4), empty without one."""
    try:
        kid = parsed(b64decode(value["protected"]))["kid"]
    except (ValueError, KeyError, TypeError):
        return ""
    return one_line(str(kid)[:200])


def _of_no_account(key: keys.PrivateKey) -> InvalidInput:
    kind = keys.key_type_of(key.public_key())
    return InvalidInput(f"the key is {kind}, ACME accounts are RSA, P-256, P-384")
