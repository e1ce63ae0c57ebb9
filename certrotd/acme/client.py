"""Clients of one CA: a few connections lent to many threads, one directory and one account."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from acme import messages
from acme.client import ClientV2
from josepy.errors import DeserializationError

from certrotd.acme.account import Account, AccountFolder
from certrotd.acme.network import Network
from certrotd.acme.problems import Refused
from certrotd.acme.settings import AcmeSettings
from certrotd.acme.transport import check_url, trust
from certrotd.clock import Clock, Deadline
from certrotd.errors import InvalidInput, NeedsOperator, Transient

MAX_CLIENTS = 16
DIRECTORY_SECONDS = 3600.0
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEEDED = ("newNonce", "newAccount", "newOrder")


class Client(ClientV2):
    """The acme library's client over a Network, in the hands of one thread."""

    net: Network

    def post(
        self, url: str, message: object | None = None, *, repeatable: bool = True
    ) -> requests.Response:
        """A signed POST of a message of the acme library, or a POST-as-GET without one."""
        return self._post(url, message, repeatable=repeatable)


@dataclass(frozen=True)
class _Cached:
    directory: messages.Directory
    until: float


class Clients:
    """What all orders of one issuer share; safe to use from many threads."""

    def __init__(self, settings: AcmeSettings, state_dir: Path, clock: Clock) -> None:
        if not _FOLDER.fullmatch(settings.name):
            raise InvalidInput(
                f"{settings.name!r} cannot be an issuer's name", hint="letters, digits, . _ -"
            )
        check_url(settings.directory)
        self._settings = settings
        self._clock = clock
        self._folder = AccountFolder(
            state_dir / "accounts" / settings.name, directory=settings.directory
        )
        self._idle: list[Client] = []
        self._free = threading.BoundedSemaphore(MAX_CLIENTS)
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._cached: _Cached | None = None
        self._account: Account | None = None

    @contextlib.contextmanager
    def lend(self, deadline: Deadline, *, forgotten: str = "") -> Iterator[tuple[Client, Account]]:
        """A client that signs as the account, for the block; waits for a free one.

        The account is registered on first use, and again with the same key if its URL is
        ``forgotten`` by the CA. Raises what asking the CA raises, LockHeld and DiskTrouble.
        """
        if not self._free.acquire(timeout=deadline.remaining):
            raise Transient(f"all {MAX_CLIENTS} connections to {self._settings.name} are in use")
        try:
            client = self._ready_client(deadline)
            account = self._ready_account(client, deadline, forgotten)
            client.net.sign_as(account.key, account.url)
            try:
                yield client, account
            except Refused:
                self._idle.append(client)
                raise
            # after anything else it is dropped with its connection: who knows what comes on it
            self._idle.append(client)
        finally:
            self._free.release()

    def _ready_client(self, deadline: Deadline) -> Client:
        with self._alone(deadline):
            client = self._idle.pop() if self._idle else self._new_client()
            client.net.deadline = deadline
            now = self._clock.monotonic()
            if self._cached is None or self._cached.until <= now:
                directory = fetch_directory(self._settings.directory, client.net)
                self._cached = _Cached(directory, now + DIRECTORY_SECONDS)
            client.directory = self._cached.directory
            return client

    def _new_client(self) -> Client:
        if self._context is None:
            self._context = trust(self._settings.ca_bundle)
        network = Network(
            self._context, self._clock, request_timeout=self._settings.request_timeout
        )
        return Client(messages.Directory({}), network)

    def _ready_account(self, client: Client, deadline: Deadline, forgotten: str) -> Account:
        account = self._account
        if account is not None and account.url != forgotten:
            return account
        with self._alone(deadline), self._folder.locked(deadline):
            if self._account is not None and self._account.url != forgotten:
                return self._account  # another thread was quicker
            key = self._folder.key(self._settings.account_key)
            url = self._folder.url()
            if url in ("", forgotten):
                client.net.sign_as(key, "")
                url = register(client, self._settings)
                created = self._clock.now().isoformat(timespec="seconds")
                self._folder.remember(url, created=created)
            self._account = Account(key, url)
            return self._account

    @contextlib.contextmanager
    def _alone(self, deadline: Deadline) -> Iterator[None]:
        if not self._lock.acquire(timeout=deadline.remaining):
            raise Transient(f"another order is still asking {self._settings.name} for its account")
        try:
            yield
        finally:
            self._lock.release()


def fetch_directory(url: str, network: Network) -> messages.Directory:
    """The CA's directory (RFC 8555 §7.1.1), its needed URLs checked; raises NeedsOperator."""
    response = network.get(url)
    try:
        found = json.loads(response.content)
        directory: messages.Directory = messages.Directory.from_json(found)
        needed = [directory[name] for name in _NEEDED]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DeserializationError):
        raise NeedsOperator(
            f"{url} does not answer with an ACME directory",
            hint="it is the URL of a JSON document with newNonce, newAccount and newOrder",
        ) from None
    for each in needed:
        check_url(each if isinstance(each, str) else repr(each))
    return directory


def register(client: Client, settings: AcmeSettings) -> str:
    """Create the account of the key the client signs with, or find it; its URL.

    A key the CA knows is answered with the existing account (RFC 8555 §7.3.1), so that repeating
    this is harmless. Raises NeedsOperator where the CA's terms are not agreed to.
    """
    terms = client.directory.meta.terms_of_service
    if terms and not settings.agree_to_terms:
        raise NeedsOperator(
            f"the CA {settings.name} issues only to who agrees to its terms of service: {terms}",
            hint="read them, then set agree_to_terms: true",
        )
    contact = tuple(f"mailto:{address}" for address in settings.contact)
    message = messages.NewRegistration(
        **({"contact": contact} if contact else {}),
        **({"terms_of_service_agreed": True} if terms else {}),
    )
    response = client.post(client.directory["newAccount"], message)
    return location_of(response, "account")


def location_of(response: requests.Response, what: str) -> str:
    """The URL of what the CA created, from the Location header; raises NeedsOperator."""
    url: str = response.headers.get("Location", "")
    if not url:
        host = check_url(response.url)
        raise NeedsOperator(f"the CA at {host} made an {what} and does not say where it is")
    check_url(url)
    return url
