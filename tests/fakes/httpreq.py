"""An endpoint of lego's httpreq protocol that keeps the records in memory."""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from dataclasses import dataclass, field

from tests.fakes.provider_api import Asked, Reply


@dataclass
class HttpReq:
    """The values by name; a ``login`` is asked for where there is one."""

    login: tuple[str, str] | None = None
    values: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def answer(self, asked: Asked) -> Reply:
        """What the endpoint answers."""
        if self.login is not None:
            expected = b64encode(":".join(self.login).encode()).decode()
            if asked.headers.get("authorization") != f"Basic {expected}":
                return Reply(401, b"who are you?\n", {"Content-Type": "text/plain"})
        told = asked.json
        if "keyAuth" in told:
            digest = hashlib.sha256(told["keyAuth"].encode()).digest()
            value = urlsafe_b64encode(digest).decode().rstrip("=")
            name = f"_acme-challenge.{told['domain']}"
        else:
            name, value = told["fqdn"].removesuffix("."), told["value"]
        if asked.path.endswith("/present"):
            self.values[name].add(value)
        elif asked.path.endswith("/cleanup"):
            self.values[name].discard(value)
        else:
            return Reply(404)
        return Reply()
