"""The ACME issuer: orders at one CA under one account, several at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from josepy.jwk import JWK

from certrotd.acme.client import Clients, location_of
from certrotd.acme.order import AcmeOrder
from certrotd.acme.problems import Refused
from certrotd.acme.resources import OrderState, new_order, read_order, same_names
from certrotd.acme.settings import AcmeSettings
from certrotd.acme.transport import check_url
from certrotd.clock import Clock, Deadline
from certrotd.config.context import Context, Surroundings
from certrotd.config.issuers import AcmeEntry
from certrotd.pki.keys import KeyType
from certrotd.pki.names import canonical
from certrotd.pki.order import OrderGone

_UNFINISHED = ("pending", "ready")
_FOREIGN = ("unauthorized", "malformed")


class AcmeIssuer:
    """Orders certificates from an ACME CA (RFC 8555) by dns-01; safe to use from many threads.

    Keeps its account in ``state_dir/accounts/NAME``. Making one touches neither disk nor network.
    """

    def __init__(
        self,
        settings: AcmeSettings,
        state_dir: Path,
        clock: Clock,
        site: Surroundings | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._clients = Clients(settings, state_dir, clock, site)

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
        return self._place(asked, deadline)

    def resume(self, url: str, *, deadline: Deadline) -> AcmeOrder:
        """Come back to the order at ``url``; OrderGone if nothing can come of it any more."""
        if not url:
            raise OrderGone("the order was not one at a CA")
        host = check_url(url)
        with self._clients.lend(self._limit(deadline)) as (client, account):
            if host != check_url(client.directory["newOrder"]):
                raise OrderGone(f"the order at {host} belongs to another CA")
            try:
                response = client.ask(url)
            except Refused as refused:
                if refused.code in _FOREIGN and refused.url == url:
                    raise OrderGone(f"the CA does not know the order: {refused.message}") from None
                raise
        state = read_order(response.content)
        order = self._made(url, state, account.key, resumed=True)
        if state.status == "invalid":
            raise OrderGone(order.refusal())
        if state.status in _UNFINISHED and state.expires and state.expires <= self._clock.now():
            raise OrderGone(f"the order expired at {state.expires:%Y-%m-%d %H:%M:%S}Z")
        return order

    def _place(
        self, asked: tuple[str, ...], deadline: Deadline, *, forgotten: str = ""
    ) -> AcmeOrder:
        with self._clients.lend(self._limit(deadline), forgotten=forgotten) as (client, account):
            try:
                response = client.post(
                    client.directory["newOrder"], new_order(asked), repeatable=False
                )
            except Refused as refused:
                if refused.code != "accountDoesNotExist" or forgotten:
                    raise
            else:
                url = location_of(response, "order")
                state = read_order(response.content)
                same_names(state, asked)
                return self._made(url, state, account.key, resumed=False)
        # the CA lost the account (a test CA restarted, a database restored): once more with the
        # same key registered again
        return self._place(asked, deadline, forgotten=account.url)

    def _made(self, url: str, state: OrderState, key: JWK, *, resumed: bool) -> AcmeOrder:
        return AcmeOrder(
            url,
            state,
            key=key,
            clients=self._clients,
            settings=self._settings,
            clock=self._clock,
            resumed=resumed,
        )

    def _limit(self, deadline: Deadline) -> Deadline:
        return deadline.within(self._settings.timeout)


def build(entry: AcmeEntry, context: Context) -> AcmeIssuer:
    """The issuer of a configuration entry."""
    settings = AcmeSettings(
        name=context.name,
        directory=entry.directory,
        contact=tuple(each.removeprefix("mailto:") for each in entry.contact),
        ca_bundle=entry.ca_bundle,
        preferred_chain=entry.preferred_chain or "",
        agree_to_terms=entry.agree_to_terms,
        account_key=KeyType(entry.account_key),
        timeout=entry.timeout.total_seconds(),
        request_timeout=entry.request_timeout.total_seconds(),
        also_hosts=entry.also_hosts,
    )
    return AcmeIssuer(settings, context.state_dir, context.clock, context.site)
