"""Publishing through the API of Cloudflare (https://developers.cloudflare.com/api/), version 4.

Each value is a record of its own there, so others at the name are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import CloudflareEntry
from certrotd.config.secrets import Reference
from certrotd.dns.api import JsonApi, Reach, check_within, no_zone, word, zone_chosen
from certrotd.dns.records import TxtRecord, Unpublished
from certrotd.errors import NeedsOperator

_NEEDS = (
    "it takes an API token (not a global key) that is valid, with Zone:Read and DNS:Edit for the "
    "zone, and usable from this address"
)
_IDENTICAL = frozenset({81057, 81058})
"""Codes of an error: the record exists already."""
_GONE = frozenset({81044})
_MALFORMED = frozenset({6003, 6111, 9109, 10000})
"""Codes of an error of the token that is not always a 401."""
_PAGE = 50
_MAX_PAGES = 50
_Object = Mapping[str, str]


class Cloudflare:
    """A solver with an API ``token``, which is read at each request; ``ttl`` is in seconds.

    ``zone_of`` gives the zone that holds a name; ``zone_id`` is its id, else it is looked up.
    """

    def __init__(
        self,
        reach: Reach,
        url: str,
        *,
        token: Reference,
        zone_of: Callable[[str, Deadline], str],
        zone_id: str | None = None,
        ttl: int = 60,
    ) -> None:
        self._what = reach.what
        self._zone_of = zone_of
        self._zone_id = zone_id
        self._zone: str | None = None
        """That of ``zone_id``, once it is known."""
        self._ttl = ttl
        self._api = JsonApi(
            reach,
            url,
            credentials=lambda: {"Authorization": f"Bearer {word(token, f'{reach.what}: token')}"},
            needs=_NEEDS,
            reason=_reason,
            denied=lambda content: bool(_codes(content) & _MALFORMED),
        )

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.present; raises Unpublished where it is refused, or there is no such zone."""
        self._check(record.name)
        records = f"/zones/{self._id(record.name, deadline)}/dns_records"
        ours = {
            "type": "TXT",
            "name": record.name,
            "content": f'"{record.value}"',
            "ttl": self._ttl,
        }
        self._ask("POST", records, deadline, given=ours, done=_IDENTICAL)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.withdraw; raises as :meth:`present`."""
        records = f"/zones/{self._id(record.name, deadline)}/dns_records"
        for each in self._listed(records, deadline, type="TXT", name=record.name):
            if (each["name"], each["content"].strip('"')) == (record.name, record.value):
                self._ask("DELETE", f"{records}/{each['id']}", deadline, take=_deleted, done=_GONE)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Ask for one zone or record: the token is good for something, or it raises."""
        path = "/zones" if self._zone_id is None else f"/zones/{self._zone_id}/dns_records"
        self._ask("GET", f"{path}?per_page=5", deadline)

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """As Coverage.covers; raises as :meth:`present`.

        A token that may not read the zone of ``zone_id`` does not tell what its name is.
        """
        path = f"/zones/{self._id(name, deadline)}"
        if self._zone_id is not None and self._zone is None:
            with suppress(Unpublished):
                self._zone = self._ask("GET", path, deadline, take=_name)
        self._check(name)

    def _check(self, name: str) -> None:
        if self._zone is not None:  # elsewhere Cloudflare would make a record below the zone of it
            check_within(name, self._zone, self._what)

    def _id(self, name: str, deadline: Deadline) -> str:
        """The id of the zone that holds ``name``."""
        if self._zone_id is not None:
            return self._zone_id
        zone = self._zone_of(name, deadline)
        listed = self._listed("/zones", deadline, name=zone)
        found = [each for each in listed if each["name"] == zone]
        # a domain that moved between accounts is in both, in one of them without an effect
        found = [each for each in found if each["status"] == "active"] or found
        if not found:
            raise no_zone(
                self._what,
                zone,
                "the token is for another account or other zones, or the domain is not there",
            )
        if len(found) > 1:
            ids = ", ".join(each["id"] for each in found[:5])
            raise Unpublished(
                f"{self._what} has {len(found)} zones {zone}: {ids}",
                hint="configure zone_id: the one whose name servers the domain is delegated to",
            )
        return found[0]["id"]

    def _listed(self, path: str, deadline: Deadline, **only: str) -> list[_Object]:
        """All of a list, page by page."""
        found: list[_Object] = []
        for page in range(1, _MAX_PAGES + 1):
            query = urlencode({**only, "per_page": _PAGE, "page": page})
            here, pages = self._ask("GET", f"{path}?{query}", deadline, take=_page)
            found += here
            if page >= pages:
                return found
        raise NeedsOperator(f"{self._what} has more than {_MAX_PAGES} pages of {path}")

    def _ask(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        given: object = None,
        take: Callable[[Any], Any] | None = None,
        done: frozenset[int] = frozenset(),
    ) -> Any:
        """What ``take`` finds; True if it was ``done`` before, by the code of an error."""
        return self._api.ask(
            method,
            path,
            given,
            deadline=deadline,
            take=take or _succeeded,
            means=lambda _status, content: True if _codes(content) & done else None,
        )


def _codes(content: Any) -> frozenset[int]:
    """Those of the errors that an answer tells of; none where it tells of them in another way."""
    try:
        return frozenset(each["code"] for each in content["errors"])
    except (KeyError, TypeError):
        return frozenset()


def _succeeded(found: Any) -> bool:
    """ValueError for an answer with the status of a success that says otherwise."""
    if found["success"] is not True:
        raise ValueError("no success")
    return True


def _name(found: Any) -> str:
    """That of a zone."""
    return str(found["result"]["name"]).lower()


def _deleted(found: Any) -> str:
    """The id of what was deleted, of which alone the documentation of this request knows."""
    return str(found["result"]["id"])


def _page(found: Any) -> tuple[list[_Object], int]:
    """The objects of one page, and how many pages there are."""
    here: list[_Object] = [
        {
            "id": _id(each["id"]),
            "name": str(each["name"]).lower(),
            "content": str(each.get("content", "")),
            "status": str(each.get("status", "")),
        }
        for each in found["result"]
    ]
    return here, int(found["result_info"]["total_pages"])


def _id(found: object) -> str:
    """An id, which becomes a part of a URL; ValueError for what is none."""
    identifier = str(found)
    if not identifier.isascii() or not identifier.isalnum() or len(identifier) > 64:
        raise ValueError("no id")
    return identifier


def _reason(content: Any) -> str:
    return "; ".join(f"{each['message']} ({each['code']})" for each in content["errors"])


def build(entry: CloudflareEntry, context: SolverContext) -> Cloudflare:
    """The solver of a configuration entry; its token is read when it is first used."""
    return Cloudflare(
        Reach.of(entry, f"Cloudflare of solver {context.name}"),
        entry.url,
        token=entry.token,
        zone_of=zone_chosen(entry.zone, context),
        zone_id=entry.zone_id,
        ttl=entry.ttl,
    )
