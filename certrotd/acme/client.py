"""Clients of one CA: a few connections lent to many threads, one directory and one account."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import requests
from acme import messages
from acme.client import ClientV2
from josepy.errors import DeserializationError
from josepy.jwk import JWK

from certrotd.acme.account import Account, AccountFolder
from certrotd.acme.key_change import KeyChange, find_account
from certrotd.acme.network import Network
from certrotd.acme.problems import ClockOff, Refused
from certrotd.acme.reach import AllowedUrls
from certrotd.acme.registering import agreed_terms, register
from certrotd.acme.transport import check_url
from certrotd.clock import Deadline
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import AcmeEntry
from certrotd.errors import Failure, NeedsOperator, Transient, listed, one_line
from certrotd.jsontext import parsed
from certrotd.pki.keys import KeyType
from certrotd.pki.order import OrderGone
from certrotd.pki.roots import trust
from certrotd.rotation.stopping import acquired
from certrotd.wording import count

MAX_CLIENTS = 16
_SIGNER = "it is the root of the CA's own web server"
DIRECTORY_SECONDS = 3600.0
CLOCK_OFF = timedelta(days=1)
_OF_THE_ACCOUNT = ("accountDoesNotExist", "unauthorized", "malformed")
_OF_ITS_KEY = (*_OF_THE_ACCOUNT, "badSignatureAlgorithm", "badPublicKey")
"""What a CA says of a signature by a key that the account has no more."""
_NEEDED = ("newNonce", "newAccount", "newOrder")


class Client(ClientV2):
    """The acme library's client over a Network, in the hands of one thread.

    ``home`` is the URL of the CA's directory.
    """

    net: Network

    def __init__(self, home: str, net: Network) -> None:
        super().__init__(messages.Directory({}), net)
        self._home = home

    @property
    def renewal_info(self) -> str:
        """Where the CA answers when to renew (RFC 9773 §3), or empty."""
        url = self.directory.to_partial_json().get("renewalInfo")
        return url if isinstance(url, str) else ""

    @property
    def identities(self) -> tuple[str, ...]:
        """The names by which the CA goes in CAA records (RFC 8555 §9.7.6)."""
        found: object = self.directory.meta.caa_identities
        return tuple(map(str, found)) if isinstance(found, list | tuple) else ()

    @property
    def profiles(self) -> Collection[str]:
        """The names of the profiles that the CA offers."""
        found: object = self.directory.meta.profiles
        return [one_line(name) for name in found] if isinstance(found, Mapping) else ()

    def post(
        self, url: str, message: object | None = None, *, repeatable: bool = True
    ) -> requests.Response:
        """A signed POST of a message of the acme library, or a POST-as-GET without one."""
        return self._post(url, message, repeatable=repeatable)

    def ask(self, url: str, message: object | None = None) -> requests.Response:
        """As post(), of something that belongs to an order; OrderGone if the CA has it no more."""
        try:
            return self.post(url, message)
        except Refused as refused:
            if self._is_gone(refused, url):
                raise OrderGone(f"the CA no longer knows the order: {refused.message}") from refused
            raise

    def _is_gone(self, refused: Refused, url: str) -> bool:
        """Whether the CA knows what is at ``url``, or the account it was made by, no more.

        A CA need not explain a 404 (Pebble does not), and a gateway without its CA says the same
        of everything: without an explanation it is believed only of a CA whose directory is there
        at this moment. Raises Transient where that is not.
        """
        if refused.code == "accountDoesNotExist":
            return True
        if refused.status not in (404, 410) or refused.url != url:
            return False
        if not refused.of_the_ca:
            try:
                fetch_directory(self._home, self.net)
            except Failure as failure:
                raise Transient(
                    f"{refused.message}, and its directory is unreadable too: {failure.message}",
                    hint="something in front of the CA seems to answer instead",
                ) from failure
        return True


@dataclass(frozen=True)
class _Cached:
    directory: messages.Directory
    until: float


class Clients:
    """What all orders of one issuer share; safe to use from many threads."""

    def __init__(self, entry: AcmeEntry, context: IssuerContext) -> None:
        check_url(entry.directory)
        self._entry = entry
        self._name = context.name
        self._clock = context.clock
        self._site = context.site
        self._folder = AccountFolder(context.folder, directory=entry.directory)
        self._idle: list[Client] = []
        self._free = threading.BoundedSemaphore(MAX_CLIENTS)
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._cached: _Cached | None = None
        self._account: Account | None = None

    @contextlib.contextmanager
    def lend(
        self, deadline: Deadline, *, wrong: Account | None = None
    ) -> Iterator[tuple[Client, Account]]:
        """A client that signs as the account, for the block; waits for a free one.

        The account is registered on first use, and again with the same key if it is ``wrong``: the
        CA forgot it, or its URL is another's. A change of its key that was broken off is settled
        first. Raises what asking the CA raises, LockHeld, DiskTrouble, and NeedsOperator for an
        account that is deactivated.
        """
        if not acquired(self._free, deadline):
            raise Transient(f"all {MAX_CLIENTS} connections to {self._name} are in use")
        try:
            client = self._ready_client(deadline)
            account = self._ready_account(client, deadline, wrong)
            client.net.sign_as(account.key, account.url)
            try:
                yield client, account
            except Refused as refused:
                self._idle.append(client)
                if not refused.of_the_ca:
                    self._cached = None  # its pages may be elsewhere now
                raise
            # after anything else it is dropped with its connection: who knows what comes on it
            self._idle.append(client)
        except Refused:
            raise
        except NeedsOperator:
            # somebody may mend it by another ca_bundle, which is then to be read
            self._context = None
            self._idle.clear()
            raise
        finally:
            self._free.release()

    def compare_clocks(self, client: Client) -> None:
        """Raises ClockOff where our clock is so far off the CA's that no certificate would do."""
        time = client.net.time_of_ca(client.directory["newNonce"])
        if time is None:
            return
        self._site.ca_time(time)
        ahead = self._clock.now() - time
        if abs(ahead) > CLOCK_OFF:
            raise ClockOff(
                f"the clock is {count(abs(ahead).days, 'day')} "
                f"{'ahead of' if ahead > CLOCK_OFF else 'behind'} the CA's "
                f"({time:%Y-%m-%d %H:%M}Z): nothing was ordered",
                hint="set the clock right",
            )

    @contextlib.contextmanager
    def visit(self, deadline: Deadline) -> Iterator[Client]:
        """A client for the block that signs nothing; no account is needed, or made."""
        if not acquired(self._free, deadline):
            raise Transient(f"all {MAX_CLIENTS} connections to {self._name} are in use")
        try:
            client = self._ready_client(deadline)
            try:
                yield client
            except Refused:
                self._idle.append(client)
                raise
            self._idle.append(client)
        finally:
            self._free.release()

    def identities(self, deadline: Deadline, *, dry: bool = False) -> tuple[str, tuple[str, ...]]:
        """The URL of our account, and the names by which the CA goes in CAA records.

        In a ``dry`` run no account is made: "" where there is none. Raises as lend() does.
        """
        if dry:
            with self.visit(deadline) as client:
                return self._folder.url(), client.identities
        with self.lend(deadline) as (client, account):
            return account.url, client.identities

    def look(self, deadline: Deadline) -> None:
        """Raises what lend() would, as far as it can be told without an account being made."""
        with self.visit(deadline) as client:
            refuse_deactivated(self._folder, self._name)
            self._folder.known_key()
            if not self._folder.url():
                agreed_terms(client, self._entry, self._name)

    def _ready_client(self, deadline: Deadline) -> Client:
        with self._alone(deadline):
            client = self._idle.pop() if self._idle else self._new_client()
            client.net.deadline = deadline
            now = self._clock.monotonic()
            cached = self._cached
            if cached is None or cached.until <= now:
                directory = fetch_directory(self._entry.directory, client.net)
                self._cached = cached = _Cached(directory, now + DIRECTORY_SECONDS)
            client.directory = cached.directory
            return client

    def _new_client(self) -> Client:
        context = self._context or trust(self._entry.ca_bundle, hint=_SIGNER)
        self._context = context
        directory = self._entry.directory
        network = Network(
            context,
            self._clock,
            request_timeout=self._entry.request_timeout.total_seconds(),
            reach=AllowedUrls(directory, self._entry.also_hosts),
            proxy=self._entry.use_proxy,
        )
        return Client(directory, network)

    def _ready_account(self, client: Client, deadline: Deadline, wrong: Account | None) -> Account:
        account = self._account
        if account is not None and account != wrong:
            return account
        known = self._folder.at_hand(self._entry.contact)
        if known is not None and Account(*known) != wrong:
            self._account = Account(*known)
            return self._account
        with self._alone(deadline), self._folder.locked(deadline) as lease:
            if self._account is not None and self._account != wrong:
                return self._account  # another thread was quicker
            refuse_deactivated(self._folder, self._name)
            if self._folder.is_changing():
                change = KeyChange(client, self._folder, lease, self._site, self._name)
                change.settle(now=self._clock.now())
            key = self._folder.key(KeyType(self._entry.account_key))
            url = self._folder.url()
            if not url or Account(key, url) == wrong:
                client.net.sign_as(key, "")
                url, is_new = register(client, self._entry, self._name)
                if is_new:
                    self._tell_of(url, wrong.url if wrong else "")
                # of one that was there already the CA has passed over the contacts
                told = self._entry.contact if is_new else None
                self._folder.remember(url, contact=told, now=self._clock.now())
            self._tell_contact(client, key, url)
            self._account = Account(key, url)
            return self._account

    def is_stale(self, account: Account, refused: Failure) -> bool:
        """Whether the CA refused because another process has changed the account or its key."""
        why = refused if isinstance(refused, Refused) else refused.__cause__
        ours = isinstance(why, Refused) and why.code in _OF_ITS_KEY
        return ours and not self.signs_with(account.key)

    def signs_with(self, key: JWK) -> bool:
        """Whether the account has this key still, as far as its folder tells."""
        return self._folder.signs_with(key)

    def is_wrong(self, client: Client, account: Account, refused: Refused | OrderGone) -> bool:
        """Whether the CA refused because the account is not, or no more, what is known of it here.

        Its file may be from elsewhere, or damaged: without a look every order would fail for ever.
        """
        if self.is_stale(account, refused):
            return True
        why = refused if isinstance(refused, Refused) else refused.__cause__
        if not isinstance(why, Refused) or why.code not in _OF_THE_ACCOUNT:
            return False
        if refused is why and why.code == "accountDoesNotExist":
            return True
        try:
            found = find_account(client, account.key)
        except Failure:
            return False  # nobody knows: the refusal is reported
        return found is not None and found != account.url

    def _tell_contact(self, client: Client, key: JWK, url: str) -> None:
        """Tell the CA of contacts that were changed since it was told (RFC 8555 §7.3.2).

        What it refuses is said, and no reason not to have a certificate; the next start tries it
        again.
        """
        contact = self._entry.contact
        if (self._folder.contact() or ()) == contact:
            return
        client.net.sign_as(key, url)
        message = messages.UpdateRegistration(contact=contact)
        try:
            client.post(url, message)
        except Refused as refused:
            if refused.code != "accountDoesNotExist":  # else the order finds out, and mends it
                self._site.remark(f"issuer {self._name}: the changed contact is refused: {refused}")
            return
        self._site.record("account.contact_changed", url=url, contact=list(contact))
        self._folder.remember(url, contact=contact, now=self._clock.now())

    def _tell_of(self, url: str, forgotten: str) -> None:
        """A new account is in the audit log; one that replaces another is reported, too."""
        name, issued = self._name, self._site.issued()
        directory = self._entry.directory
        self._site.record("account.registered", url=url, directory=directory, instead_of=forgotten)
        if forgotten or issued:
            why = f"the CA forgot {forgotten}" if forgotten else "the one before is lost here"
            live = f"; it issued {listed(issued)}" if issued else ""
            self._site.remark(f"issuer {name}: a new account is registered, {url}: {why}{live}")

    @contextlib.contextmanager
    def _alone(self, deadline: Deadline) -> Iterator[None]:
        if not acquired(self._lock, deadline):
            raise Transient(f"another order still waits for {self._name} to find its account")
        try:
            yield
        finally:
            self._lock.release()


def fetch_directory(url: str, network: Network) -> messages.Directory:
    """The CA's directory (RFC 8555 §7.1.1), its needed URLs checked; raises NeedsOperator."""
    response = network.get(url)
    try:
        found = parsed(response.content)
        directory: messages.Directory = messages.Directory.from_json(found)
        needed = [directory[name] for name in _NEEDED]
    except (ValueError, KeyError, TypeError, AttributeError, DeserializationError):
        raise NeedsOperator(
            f"{url} does not answer with an ACME directory",
            hint="it is the URL of a JSON document with newNonce, newAccount and newOrder",
        ) from None
    for each in needed:
        check_url(each if isinstance(each, str) else repr(each))
    return directory


def refuse_deactivated(folder: AccountFolder, name: str) -> None:
    """Raises NeedsOperator for an account that was deactivated: nothing can be ordered with it."""
    since = folder.deactivated()
    if since is not None:
        raise NeedsOperator(
            f"the account at the CA {name} was deactivated at {since:%Y-%m-%d %H:%M}Z",
            hint=f"`certrotd account new {name}` registers another one; certificates stay as "
            "they are until then",
        )
