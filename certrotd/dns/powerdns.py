"""Publishing through the HTTP API of a PowerDNS authoritative server.

It replaces all records of one name and type at once: what is there is read first and kept, and only
one of certrotd's processes on a machine does so at a time. (Versions before 5.0 have nothing that
adds a single record.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from certrotd.clock import Deadline
from certrotd.config.context import SolverContext
from certrotd.config.dns_providers import PowerdnsEntry
from certrotd.config.secrets import Reference
from certrotd.dns.api import JsonApi, Reach, no_zone, nothing, word, zone_chosen
from certrotd.dns.records import TxtRecord
from certrotd.dns.turns import Turn, in_turn, turns, unlimited

_NEEDS = "compare api_key with the server's api-key, and webserver-allow-from with our address"
_ELSEWHERE = "correct url or server_id, or configure another solver for that zone"
T = TypeVar("T")
_Records = tuple[Mapping[str, Any], ...]


class PowerDns:
    """A solver that changes zones of the server ``server_id`` at ``url``; ``ttl`` is in seconds.

    ``zone_of`` gives the zone that holds a name. ``key`` is read at each request.
    """

    def __init__(
        self,
        reach: Reach,
        url: str,
        *,
        key: Reference,
        zone_of: Callable[[str, Deadline], str],
        server_id: str = "localhost",
        ttl: int = 60,
        turn: Turn = unlimited,
    ) -> None:
        self._what = reach.what
        self._server = f"/api/v1/servers/{quote(server_id, safe='')}"
        self._zone_of = zone_of
        self._ttl = ttl
        self._turn = turn
        self._api = JsonApi(
            reach,
            url,
            credentials=lambda: {"X-API-Key": word(key, f"{reach.what}: api_key")},
            needs=_NEEDS,
            reason=lambda content: content["error"],
        )

    def present(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.present; raises Unpublished where the server refuses, Transient if it is away.

        A server without the zone refuses.
        """
        zone = self._zone_of(record.name, deadline)
        with in_turn(self._turn, deadline):
            there = self._records(zone, record.name, deadline)
            ours = {"content": f'"{record.value}"', "disabled": False}
            if ours not in there:  # disabled, it is published as little as absent
                others = (each for each in there if _value(each) != record.value)
                self._replace(zone, record.name, (*others, ours), deadline)

    def withdraw(self, record: TxtRecord, *, deadline: Deadline) -> None:
        """As Solver.withdraw; raises as :meth:`present`."""
        zone = self._zone_of(record.name, deadline)
        with in_turn(self._turn, deadline):
            there = self._records(zone, record.name, deadline)
            others = tuple(each for each in there if _value(each) != record.value)
            if len(others) < len(there):
                self._replace(zone, record.name, others, deadline)

    def preflight(self, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """Ask for the server's description: URL, server id and key are right, or it raises."""
        self._api.ask("GET", self._server, deadline=deadline, take=lambda found: found["id"])

    def covers(self, name: str, *, deadline: Deadline, dry: bool = False) -> None:  # noqa: ARG002
        """As Coverage.covers; raises as :meth:`withdraw` does."""
        self._records(self._zone_of(name, deadline), name, deadline)

    def _records(self, zone: str, name: str, deadline: Deadline) -> _Records:
        """The TXT records at a name; versions before 4.7 send those of other names, too."""

        def take(found: Any) -> _Records:
            return tuple(
                {"content": str(each["content"]), "disabled": bool(each["disabled"])}
                for rrset in found["rrsets"]
                if (str(rrset["name"]).lower(), rrset["type"]) == (f"{name}.", "TXT")
                for each in rrset["records"]
            )

        asked = f"{self._path(zone)}?rrset_name={name}.&rrset_type=TXT"
        return self._of_zone(zone, "GET", asked, None, deadline, take)

    def _replace(self, zone: str, name: str, records: _Records, deadline: Deadline) -> None:
        changed: dict[str, object] = {"changetype": "DELETE"}
        if records:
            changed = {"changetype": "REPLACE", "ttl": self._ttl, "records": records}
        rrset = {"name": f"{name}.", "type": "TXT", **changed}

        self._of_zone(zone, "PATCH", self._path(zone), {"rrsets": [rrset]}, deadline, nothing)

    def _of_zone(
        self,
        zone: str,
        method: str,
        path: str,
        given: object,
        deadline: Deadline,
        take: Callable[[Any], T],
    ) -> T:
        def means(status: int, _content: object) -> None:
            if status == 404:
                raise no_zone(self._what, zone, _ELSEWHERE)

        return self._api.ask(method, path, given, deadline=deadline, take=take, means=means)

    def _path(self, zone: str) -> str:
        return f"{self._server}/zones/{zone}."


def _value(record: Mapping[str, Any]) -> str:
    return str(record["content"]).strip('"')


def build(entry: PowerdnsEntry, context: SolverContext) -> PowerDns:
    """The solver of a configuration entry; its key is read when it is first used."""
    what = f"the PowerDNS server of solver {context.name}"
    return PowerDns(
        Reach.of(entry, what),
        entry.url,
        key=entry.api_key,
        zone_of=zone_chosen(entry.zone, context),
        server_id=entry.server_id,
        ttl=entry.ttl,
        turn=turns(context, what),
    )
