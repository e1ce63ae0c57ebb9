"""PowerDNS: an authoritative server on 127.0.0.1 with its zones in SQLite, and its HTTP API."""

import http.client
import json
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdtypes.ANY.TXT

from tests.parts import locate
from tests.parts.process import Server, free_port

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")


class PowerDnsServer(Server):
    """Serves ``zones``, which are made by its API; `server` is where to ask it, `url` its API."""

    def __init__(self, directory: Path, *, zones: Sequence[str] = ("example.test",)) -> None:
        super().__init__(directory)
        self._binary = locate.require("pdns_server")
        self._zones = zones
        self._api_port = free_port()
        self.port = free_port("both")
        self.server = f"127.0.0.1:{self.port}"
        self.url = f"http://127.0.0.1:{self._api_port}"
        self.key = secrets.token_hex(16)
        database = directory / "zones.sqlite3"
        if not _SCHEMA.is_file():
            locate.lacking("pdns-backend-sqlite3 is not installed: run scripts/test")
        with closing(sqlite3.connect(database)) as opened:
            opened.executescript(_SCHEMA.read_text())
        settings = {
            "launch": "gsqlite3",
            "gsqlite3-database": database,
            "local-address": "127.0.0.1",
            "local-port": self.port,
            "socket-dir": directory,
            "api": "yes",
            "api-key": self.key,
            "webserver-address": "127.0.0.1",
            "webserver-port": self._api_port,
            "webserver-allow-from": "127.0.0.1",
            "security-poll-suffix": "",
            "guardian": "no",
            "daemon": "no",
        }
        config = directory / "pdns.conf"
        config.touch(mode=0o600)
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._made = False

    def command(self) -> Sequence[str | Path]:
        return [self._binary, f"--config-dir={self.directory}"]

    def is_ready(self) -> bool:
        try:
            if not self._made:
                for zone in self._zones:
                    self.make_zone(zone)
                self._made = True
            return bool(self.query(self._zones[0], "SOA").answer)
        except (OSError, dns.exception.Timeout):
            return False

    def make_zone(self, zone: str) -> None:
        """A zone with one name server, at its own address."""
        answers = {
            zone: {
                "SOA": f"ns1.{zone}. hostmaster.{zone}. 1 3600 600 86400 1",
                "NS": f"ns1.{zone}.",
            },
            f"ns1.{zone}": {"A": "127.0.0.1"},
        }
        rrsets = [
            {
                "name": f"{name}.",
                "type": kind,
                "ttl": 60,
                "records": [{"content": content, "disabled": False}],
            }
            for name, records in answers.items()
            for kind, content in records.items()
        ]
        status, answer = self.ask(
            "POST", "/zones", {"name": f"{zone}.", "kind": "Native", "rrsets": rrsets}
        )
        assert status in (201, 409), answer

    def ask(self, method: str, path: str, given: object = None) -> tuple[int, Any]:
        """What its API answers below /api/v1/servers/localhost."""
        connection = http.client.HTTPConnection("127.0.0.1", self._api_port, timeout=30)
        try:
            body = None if given is None else json.dumps(given)
            headers = {"X-API-Key": self.key}
            connection.request(method, f"/api/v1/servers/localhost{path}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(content) if content else None

    def query(self, name: str, rdtype: str) -> dns.message.Message:
        """What it answers by TCP to one query."""
        query = dns.message.make_query(name, rdtype)
        return dns.query.tcp(query, "127.0.0.1", port=self.port, timeout=20)

    def txt(self, name: str) -> set[str]:
        """The TXT values that it answers with."""
        return {
            b"".join(record.strings).decode()
            for rrset in self.query(name, "TXT").answer
            for record in rrset
            if isinstance(record, dns.rdtypes.ANY.TXT.TXT)
        }

    def set_txt(self, name: str, *contents: str, disabled: Sequence[str] = ()) -> None:
        """Replaces the TXT records of a name by these, as the API writes them."""
        records = [{"content": each, "disabled": False} for each in contents]
        records += [{"content": each, "disabled": True} for each in disabled]
        rrset: dict[str, Any] = {"name": f"{name}.", "type": "TXT", "changetype": "DELETE"}
        if records:
            rrset |= {"changetype": "REPLACE", "ttl": 60, "records": records}
        zone = max((each for each in self._zones if name.endswith(each)), key=len)
        status, answer = self.ask("PATCH", f"/zones/{zone}.", {"rrsets": [rrset]})
        assert status == 204, answer
