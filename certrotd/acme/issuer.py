"""The ACME issuer: orders at one CA under one account, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TypeVar

import requests
from cryptography import x509

from certrotd.acme.account import Account, AccountFolder
from certrotd.acme.challenges import persistent, record_name
from certrotd.acme.client import Client, Clients
from certrotd.acme.management import AccountManager
from certrotd.acme.order import AcmeOrder
from certrotd.acme.problems import LONGEST_WAIT, Busy, Refused
from certrotd.acme.renewal import read_renewal_info
from certrotd.acme.resources import OrderState, new_order, read_order, same_names
from certrotd.acme.revoking import refusals, refuse_without_account, revoke, signer_of
from certrotd.acme.transport import check_url, location_of
from certrotd.clock import Deadline
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import ACCOUNTS, AcmeEntry
from certrotd.errors import NeedsOperator, listed
from certrotd.https.waits import asked_wait
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.keys import PrivateKey
from certrotd.pki.names import base, canonical, is_wildcard
from certrotd.pki.order import DNS_01, DNS_ACCOUNT_01, Challenge, OrderGone
from certrotd.pki.renewal import RenewalInfo, renewal_id

FOLDER = ACCOUNTS
"""Where the folders of these issuers are in the state."""
_UNFINISHED = ("pending", "ready")
T = TypeVar("T")
_FOREIGN = ("unauthorized", "malformed")
_NOT_FOR_REPLACES = (
    *("accountDoesNotExist", "rejectedIdentifier", "unsupportedIdentifier", "caa"),
    "invalidProfile",
)
"""Refusals that an order without ``replaces`` would meet as well."""


class AcmeIssuer:
    """Orders certificates from an ACME CA (RFC 8555); safe to use from many threads.

    Names are proven by the challenge ``kind``, dns-01 unless another is chosen by proving_by().

    Keeps its account in its folder. Making one touches neither disk nor network.
    """

    def __init__(self, entry: AcmeEntry, context: IssuerContext) -> None:
        self._entry = entry
        self._name = context.name
        self._site = context.site
        self._clock = context.clock
        self._clients = Clients(entry, context)
        self._folder = AccountFolder(context.folder, directory=entry.directory)
        self.account = AccountManager(entry, context, self._clients)
        self._kind = DNS_01

    def proving_by(self, kind: str) -> AcmeIssuer:
        """As Proving.proving_by."""
        if kind == self._kind:
            return self
        other = copy(self)
        other._kind = kind
        return other

    def records(
        self, names: Sequence[str], *, deadline: Deadline, dry: bool = False
    ) -> tuple[Challenge, ...]:
        """As Proving.records; raises what asking the CA raises.

        A persistent record may name no issuer: the CA's directory need not list any.
        """
        wildcards = {base(name) for name in names if is_wildcard(name)}
        bases = dict.fromkeys(base(name) for name in names)
        if self._kind == DNS_01:
            return tuple(Challenge(record_name(DNS_01, name, ""), "") for name in bases)
        account, issuers = self._clients.identities(self._limit(deadline), dry=dry)
        if not account:
            return ()
        if self._kind == DNS_ACCOUNT_01:
            return tuple(Challenge(record_name(self._kind, each, account), "") for each in bases)
        return tuple(
            persistent(each, issuers, account, wildcard=each in wildcards) for each in bases
        )

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:
        """The CA answers, its terms are agreed to and the account is there (registered if new).

        In a ``dry`` run nothing is registered: what can be told of a new account is told.
        """
        if dry:
            self._clients.look(self._limit(deadline))
            return
        with self._clients.lend(self._limit(deadline)):
            pass

    def renewal_info(self, facts: CertificateFacts, *, deadline: Deadline) -> RenewalInfo:
        """As Advising.renewal_info (RFC 9773 §4.1)."""
        called = renewal_id(facts)
        with self._clients.visit(self._limit(deadline)) as client:
            where = client.renewal_info
            if not where or not called:
                raise NeedsOperator("the CA has no renewal information (RFC 9773)")
            response = client.net.get(f"{where.rstrip('/')}/{called}")
            asked, now = response.headers.get("Retry-After"), self._clock.now()
            wait = asked_wait(asked, now=now, longest=LONGEST_WAIT)
            return read_renewal_info(response.content, retry_after=wait)

    def revoke(
        self,
        certificate: x509.Certificate,
        reason: int,
        *,
        key: PrivateKey | None,
        deadline: Deadline,
    ) -> bool:
        """As Revoking.revoke (RFC 8555 §7.6); no account is registered for it."""
        if key is None:
            refuse_without_account(self._folder, self._name)
            with refusals():
                return self._as_account(
                    lambda client, _account: revoke(client, certificate, reason), deadline
                )
        signer = signer_of(key)
        with refusals(), self._clients.visit(self._limit(deadline)) as client:
            client.net.sign_as(signer, "")
            return revoke(client, certificate, reason)

    def order(self, names: Sequence[str], *, deadline: Deadline, replaces: str = "") -> AcmeOrder:
        """Order a certificate for ``names``: DNS names, wildcards, IP addresses (RFC 8738).

        Raises NeedsOperator (the CA refused), Transient (busy, away), LockHeld, DiskTrouble.
        """
        asked = tuple(dict.fromkeys(canonical(name) for name in names))

        def place(client: Client, account: Account) -> AcmeOrder:
            self._clients.compare_clocks(client)
            response = self._place(client, asked, replaces if client.renewal_info else "")
            url = location_of(response, "order")
            state = read_order(response.content)
            same_names(state, asked)
            return self._made(url, state, account, resumed=False)

        return self._as_account(place, deadline)

    def resume(self, url: str, *, deadline: Deadline) -> AcmeOrder:
        """Come back to the order at ``url``; OrderGone if nothing can come of it any more."""
        if not url:
            raise OrderGone("the order was not one at a CA")
        host = check_url(url)

        def come_back(client: Client, account: Account) -> tuple[requests.Response, Account]:
            if host != check_url(client.directory["newOrder"]):
                raise OrderGone(f"the order at {host} belongs to another CA")
            try:
                return client.ask(url), account
            except Refused as refused:
                if refused.code in _FOREIGN and refused.url == url:
                    why = f"the CA does not know the order: {refused.message}"
                    raise OrderGone(why) from refused
                raise

        response, account = self._as_account(come_back, deadline)
        state = read_order(response.content)
        order = self._made(url, state, account, resumed=True)
        if state.status == "invalid":
            raise OrderGone(order.refusal())
        if state.status in _UNFINISHED and state.expires and state.expires <= self._clock.now():
            raise OrderGone(f"the order expired at {state.expires:%Y-%m-%d %H:%M:%S}Z")
        return order

    def _place(self, client: Client, asked: tuple[str, ...], replaces: str) -> requests.Response:
        """The CA's answer to a new order; without ``replaces`` where it is refused with it.

        A certificate that the CA does not know, or has replaced already, is no reason to have none
        (RFC 9773 §5).
        """
        where, profile = client.directory["newOrder"], self._profile(client)
        try:
            message = new_order(asked, profile=profile, replaces=replaces)
            return client.post(where, message, repeatable=False)
        except (Refused, Busy) as refused:
            if not replaces or not _may_be_for_replaces(refused):
                raise
            self._site.remark(
                f"issuer {self._name}: it refuses to replace {replaces}: {refused.message}; "
                "ordered without"
            )
            return client.post(where, new_order(asked, profile=profile), repeatable=False)

    def _profile(self, client: Client) -> str:
        """The profile to ask for; empty where the CA has none of that name and it need not."""
        wanted, offered = self._entry.profile, client.profiles
        if wanted is None or wanted in offered:
            return wanted or ""
        said = f"it offers {listed(sorted(offered))}" if offered else "it offers none"
        if self._entry.require_profile:
            raise NeedsOperator(
                f"the CA {self._name} has no profile {wanted}: {said}",
                hint="correct profile, or set require_profile: false",
            )
        self._site.remark(f"issuer {self._name}: no profile {wanted}: {said}; ordered without")
        return ""

    def _as_account(self, act: Callable[[Client, Account], T], deadline: Deadline) -> T:
        """What comes of the act; once more where the account is not the one it was taken for.

        The CA lost it (a test CA restarted, a database restored), and it is registered again with
        the same key; or its URL here is another's, and the key finds the right one; or another
        process has changed the key.
        """
        wrong: Account | None = None
        while True:
            with self._clients.lend(self._limit(deadline), wrong=wrong) as (client, account):
                try:
                    return act(client, account)
                except (Refused, OrderGone) as refused:
                    if wrong or not self._clients.is_wrong(client, account, refused):
                        raise
            wrong = account

    def _made(self, url: str, state: OrderState, account: Account, *, resumed: bool) -> AcmeOrder:
        return AcmeOrder(
            url,
            state,
            account=account,
            clients=self._clients,
            entry=self._entry,
            clock=self._clock,
            resumed=resumed,
            kind=self._kind,
        )

    def _limit(self, deadline: Deadline) -> Deadline:
        return deadline.within(self._entry.timeout.total_seconds())


def _may_be_for_replaces(refused: Refused | Busy) -> bool:
    """Whether an order without ``replaces`` may fare better.

    Pebble fails inside where it cannot find the certificate.
    """
    if isinstance(refused, Busy):
        return refused.code == "serverInternal"
    return refused.of_the_ca and refused.code not in _NOT_FOR_REPLACES


def build(entry: AcmeEntry, context: IssuerContext) -> AcmeIssuer:
    """The issuer of a configuration entry."""
    return AcmeIssuer(entry, context)
