"""The API of acme-dns as its documentation describes it; where its records go, the test says."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.provider_api import Asked, Reply

_TXT = re.compile(r"[A-Za-z0-9_-]{43}")
Publish = Callable[[str, tuple[str, ...]], object]


@dataclass
class AcmeDnsServer:
    """Accounts below ``zone``, each with two places, of which an update overwrites the older.

    Which is older it knows by whole ``second``s, and takes the first of two, as acme-dns does
    (pkg/database/db.go); tests in a hurry have shorter ones.
    ``publish`` is told all the values of a name whenever they change.
    """

    zone: str
    publish: Publish = lambda _name, _values: None
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    second: float = 1.0
    places: dict[str, list[str]] = field(default_factory=dict)
    updated: dict[str, list[int]] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Reply:
        """What the API answers."""
        match asked.method, asked.path:
            case "GET", "/health":
                return Reply()
            case "POST", "/register":
                return self._register(asked)
            case "POST", "/update":
                return self._update(asked)
        return Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def txt(self, name: str) -> set[str]:
        """The values at a name, without those that mean nothing."""
        return {each for each in self.places[name.partition(".")[0]] if each.strip("_")}

    def _register(self, asked: Asked) -> Reply:
        subdomain = str(uuid.uuid4())
        account = {
            "username": str(uuid.uuid4()),
            "password": uuid.uuid4().hex + "aB_-12",
            "fulldomain": f"{subdomain}.{self.zone}",
            "subdomain": subdomain,
            "allowfrom": asked.json["allowfrom"] if asked.body else [],
        }
        self.accounts[subdomain] = account
        self.places[subdomain] = ["", ""]
        return Reply(201, account)

    def _update(self, asked: Asked) -> Reply:
        subdomain, txt = asked.json["subdomain"], asked.json["txt"]
        account = self.accounts.get(subdomain)
        login = (asked.headers.get("x-api-user"), asked.headers.get("x-api-key"))
        if account is None or login != (account["username"], account["password"]):
            return Reply(401, {"error": "forbidden"})
        if not _TXT.fullmatch(txt):
            return Reply(400, {"error": "bad_txt"})
        times = self.updated.setdefault(subdomain, [0, 0])
        older = times.index(min(times))
        self.places[subdomain][older], times[older] = txt, int(time.time() / self.second)
        values = tuple(each for each in self.places[subdomain] if each)
        self.publish(str(account["fulldomain"]), values)
        return Reply(200, {"txt": txt})
