"""The ACME issuer: orders at one CA under one account, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import requests
from josepy.jwk import JWK

from certrotd.acme.account import Account
from certrotd.acme.client import Client, Clients, is_wrong, location_of
from certrotd.acme.order import AcmeOrder
from certrotd.acme.problems import Refused
from certrotd.acme.resources import OrderState, new_order, read_order, same_names
from certrotd.acme.transport import check_url
from certrotd.clock import Deadline
from certrotd.config.context import IssuerContext
from certrotd.config.issuers import AcmeEntry
from certrotd.pki.names import canonical
from certrotd.pki.order import OrderGone

FOLDER = "accounts"
"""Where the folders of these issuers are in the state."""
_UNFINISHED = ("pending", "ready")
T = TypeVar("T")
_FOREIGN = ("unauthorized", "malformed")


class AcmeIssuer:
    """Orders certificates from an ACME CA (RFC 8555) by dns-01; safe to use from many threads.

    Keeps its account in its folder. Making one touches neither disk nor network.
    """

    def __init__(self, entry: AcmeEntry, context: IssuerContext) -> None:
        self._entry = entry
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

    def order(self, names: Sequence[str], *, deadline: Deadline) -> AcmeOrder:
        """Order a certificate for ``names``: DNS names, wildcards, IP addresses (RFC 8738).

        Raises NeedsOperator (the CA refused), Transient (busy, away), LockHeld, DiskTrouble.
        """
        asked = tuple(dict.fromkeys(canonical(name) for name in names))

        def place(client: Client, account: Account) -> AcmeOrder:
            self._clients.compare_clocks(client)
            where = client.directory["newOrder"]
            response = client.post(where, new_order(asked), repeatable=False)
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
