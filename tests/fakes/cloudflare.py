"""The part of Cloudflare's API that certrotd uses, played as its documentation describes it.

There is no Cloudflare to test against: what this gets wrong, no test finds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.provider_api import Asked, Reply

MOST = 50
"""Zones of a page at most, of which the API refuses more."""


@dataclass
class Cloudflare:
    """Zones by id, as (name, status), and the records of each, by id.

    ``reads_zones``: the token has the permission Zone:Read.
    """

    token: str = "a-scoped-token"
    reads_zones: bool = True
    zones: dict[str, tuple[str, str]] = field(default_factory=dict)
    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add_zone(self, name: str, status: str = "active") -> str:
        """One more zone; its id."""
        identifier = f"{next(self._ids):032x}"
        self.zones[identifier] = (name, status)
        self.records[identifier] = {}
        return identifier

    def txt(self, name: str) -> set[str]:
        """The values at a name of all zones."""
        return {
            str(each["content"]).strip('"')
            for records in self.records.values()
            for each in records.values()
            if each["name"] == name
        }

    def answer(self, asked: Asked) -> Reply:
        """What the API answers."""
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return refusal(401, 10000, "Authentication error")
        match asked.method, asked.path.strip("/").split("/"):
            case "GET", ["zones"]:
                return self._zones(asked)
            case "GET", ["zones", zone] if zone in self.zones:
                if not self.reads_zones:
                    return refusal(403, 9109, "Unauthorized to access requested resource")
                return _done({"id": zone, "name": self.zones[zone][0]})
            case "GET", ["zones", zone, "dns_records"] if zone in self.records:
                return self._listed(zone, asked)
            case "POST", ["zones", zone, "dns_records"] if zone in self.records:
                return self._add(zone, asked.json)
            case "DELETE", ["zones", zone, "dns_records", record] if zone in self.records:
                if self.records[zone].pop(record, None) is None:
                    return refusal(404, 81044, "Record does not exist.")
                return Reply(200, {"result": {"id": record}})  # its only answer without success
        return refusal(404, 7003, f"Could not route to {asked.path}")

    def _zones(self, asked: Asked) -> Reply:
        if int(asked.query.get("per_page", "20")) > MOST:
            return refusal(400, 1006, "Invalid per_page")
        found = [
            {"id": identifier, "name": name, "status": status}
            for identifier, (name, status) in self.zones.items()
            if asked.query.get("name", name) == name
        ]
        return _page(found, asked)

    def _listed(self, zone: str, asked: Asked) -> Reply:
        wanted = {key: asked.query[key] for key in ("type", "name") if key in asked.query}
        found = [each for each in self.records[zone].values() if wanted.items() <= each.items()]
        return _page(found, asked)

    def _add(self, zone: str, given: dict[str, Any]) -> Reply:
        same = ("type", "name", "content")
        if any(all(each[k] == given[k] for k in same) for each in self.records[zone].values()):
            return refusal(400, 81058, "An identical record already exists.")
        identifier = f"{next(self._ids):032x}"
        self.records[zone][identifier] = {**given, "id": identifier}
        return _done(self.records[zone][identifier])


def refusal(status: int, code: int, message: str) -> Reply:
    """An error as the API words it."""
    errors = [{"code": code, "message": message}]
    body = {"success": False, "errors": errors, "messages": [], "result": None}
    return Reply(status, body)


def _done(result: Any, **more: Any) -> Reply:
    return Reply(200, {"success": True, "errors": [], "messages": [], "result": result, **more})


def _page(found: list[Any], asked: Asked) -> Reply:
    size, page = int(asked.query.get("per_page", "20")), int(asked.query.get("page", "1"))
    here = found[(page - 1) * size : page * size]
    info = {"page": page, "per_page": size, "count": len(here), "total_count": len(found)}
    return _done(here, result_info={**info, "total_pages": -(-len(found) // size)})
