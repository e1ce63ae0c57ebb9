"""Publishing through an endpoint of the operator's, by the protocol of lego's httpreq provider.

A POST to ``/present`` or ``/cleanup`` below the URL has JSON of the record: ``fqdn`` (with a dot at
its end) and ``value``; in the mode RAW of the challenge instead: ``domain``, ``token`` and
``keyAuth``. Any 2xx is success (https://go-acme.github.io/lego/dns/httpreq/).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from certrotd.clock import Deadline
from certrotd.config.context import Context
from certrotd.config.dns_providers import WebhookSolverEntry
from certrotd.config.secrets import Reference
from certrotd.dns.api import JsonApi, Reach
from certrotd.dns.records import TxtRecord
from certrotd.errors import NeedsOperator

_PREFIX = "_acme-challenge."


class Webhook:
    """A solver that tells the endpoint at ``url``; ``login`` is read at each request."""

    def __init__(
        self,
        reach: Reach,
        url: str,
        *,
        raw: bool = False,
        login: tuple[Reference, Reference] | None = None,
    ) -> None:
        self._what = reach.what
        self._raw = raw
        self._login = login
        self._api = JsonApi(
            reach,
            url,
            credentials=self._credentials,
            needs="compare username and password with those that the endpoint expects",
            reason=lambda content: content["message"],
        )

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Have the endpoint add the value; raises as JsonApi.ask."""
        self._tell("/present", record, deadline)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """Have the endpoint delete exactly that value; raises as :meth:`present`."""
        self._tell("/cleanup", record, deadline)

    def _tell(self, path: str, record: TxtRecord, deadline: Deadline) -> None:
        body = self._challenge(record) if self._raw else _told(record)
        self._api.ask("POST", path, body, deadline=deadline, take=lambda _: None)

    def _challenge(self, record: TxtRecord) -> Mapping[str, str]:
        if not record.key_authorization or not record.name.startswith(_PREFIX):
            raise NeedsOperator(
                f"{self._what} cannot be told of {record.name}: mode raw takes the challenge of a "
                "CA, for _acme-challenge of a domain",
                hint="use mode: default, or delete a leftover record by hand",
            )
        return {
            "domain": record.name.removeprefix(_PREFIX),
            "token": record.key_authorization.partition(".")[0],
            "keyAuth": record.key_authorization,
        }

    def _credentials(self) -> Mapping[str, str]:
        if self._login is None:
            return {}
        pair = b":".join(each.resolve().reveal() for each in self._login)
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}


def _told(record: TxtRecord) -> Mapping[str, str]:
    return {"fqdn": f"{record.name}.", "value": record.value}


def build(entry: WebhookSolverEntry, context: Context) -> Webhook:
    """The solver of a configuration entry; its secrets are read when it is first used."""
    login = None
    if entry.username is not None and entry.password is not None:
        login = entry.username, entry.password
    return Webhook(
        Reach.of(entry, f"the webhook of solver {context.name}"),
        entry.url,
        raw=entry.mode == "raw",
        login=login,
    )
