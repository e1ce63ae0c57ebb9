"""The ACME issuer: orders at one CA under one account, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import requests
from cryptography import x509
from josepy.jwk import JWK

from certrotd.acme.account import Account
from certrotd.acme.client import Client, Clients, is_wrong, location_of
from certrotd.acme.order import AcmeOrder
from certrotd.acme.problems import Refused, retry_after
from certrotd.acme.renewal import read_renewal_info
from certrotd.acme.resources import OrderState, new_order, read_order, same_names
from certrotd.acme.revoking import revoke, signer_of
from certrotd.acme.transport import check_url
from certrotd.clock import Deadline
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import AcmeEntry
from certrotd.errors import NeedsOperator, listed
from certrotd.pki.certificate import CertificateFacts
from certrotd.pki.keys import PrivateKey
from certrotd.pki.names import canonical
from certrotd.pki.order import OrderGone
from certrotd.pki.renewal import RenewalInfo, renewal_id

FOLDER = "accounts"
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
    """Orders certificates from an ACME CA (RFC 8555) by dns-01; safe to use from many threads.

    Keeps its account in its folder. Making one touches neither disk nor network.
    """

    def __init__(self, entry: AcmeEntry, context: IssuerContext) -> None:
        self._entry = entry
        self._name = context.name
        self._site = context.site
        self._clock = context.clock
        self._clients = Clients(entry, context)

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
            wait = retry_after(response.headers.get("Retry-After"), now=self._clock.now())
            return read_renewal_info(response.content, retry_after=wait)

    def revoke(
        self,
        certificate: x509.Certificate,
        reason: int,
        *,
        key: PrivateKey | None,
        deadline: Deadline,
    ) -> bool:
        """As Revoking.revoke (RFC 8555 §7.6)."""
        if key is None:
            return self._as_account(
                lambda client, _account: revoke(client, certificate, reason), deadline
            )
        signer = signer_of(key)
        with self._clients.visit(self._limit(deadline)) as client:
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
            return self._made(url, state, account.key, resumed=False)

        return self._as_account(place, deadline)

    def resume(self, url: str, *, deadline: Deadline) -> AcmeOrder:
        """Come back to the order at ``url``; OrderGone if nothing can come of it any more."""
        if not url:
            raise OrderGone("the order was not one at a CA")
        host = check_url(url)

        def come_back(client: Client, account: Account) -> tuple[requests.Response, JWK]:
            if host != check_url(client.directory["newOrder"]):
                raise OrderGone(f"the order at {host} belongs to another CA")
            try:
                return client.ask(url), account.key
            except Refused as refused:
                if refused.code in _FOREIGN and refused.url == url:
                    why = f"the CA does not know the order: {refused.message}"
                    raise OrderGone(why) from refused
                raise

        response, key = self._as_account(come_back, deadline)
        state = read_order(response.content)
        order = self._made(url, state, key, resumed=True)
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
        except Refused as refused:
            if not replaces or not refused.of_the_ca or refused.code in _NOT_FOR_REPLACES:
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
        the same key; or its URL here is another's, and the key finds the right one.
        """
        wrong = ""
        while True:
            with self._clients.lend(self._limit(deadline), forgotten=wrong) as (client, account):
                try:
                    return act(client, account)
                except (Refused, OrderGone) as refused:
                    if wrong or not is_wrong(client, account, refused):
                        raise
            wrong = account.url

    def _made(self, url: str, state: OrderState, key: JWK, *, resumed: bool) -> AcmeOrder:
        return AcmeOrder(
            url,
            state,
            key=key,
            clients=self._clients,
            entry=self._entry,
            clock=self._clock,
            resumed=resumed,
        )

    def _limit(self, deadline: Deadline) -> Deadline:
        return deadline.within(self._entry.timeout.total_seconds())


def build(entry: AcmeEntry, context: IssuerContext) -> AcmeIssuer:
    """The issuer of a configuration entry."""
    return AcmeIssuer(entry, context)
