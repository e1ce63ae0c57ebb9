"""step-ca: a second ACME server that shares no code with Pebble, and has no ARI."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts import locate, pki
from tests.parts.client import https
from tests.parts.postgresql import PASSWORD, PostgreSQL
from tests.parts.process import Server, free_port


class StepCA(Server):
    """A CA with a database on disk: `restart` keeps its accounts and orders.

    resolver: "ip:port" it asks for TXT. duration: of every certificate, in Go's notation.
    require_eab: takes only bound accounts. The open-source server has no way to make their keys:
    they are written into its ``database``, a PostgreSQL (else it keeps one of its own).
    """

    def __init__(
        self,
        directory: Path,
        *,
        resolver: str,
        duration: str = "5m",
        require_eab: bool = False,
        database: PostgreSQL | None = None,
    ) -> None:
        super().__init__(directory)
        self._database = database
        self._binary = locate.require("step-ca")
        self._resolver = resolver
        address = f"127.0.0.1:{free_port()}"
        self.directory_url = f"https://{address}/acme/acme/directory"
        self._health_url = f"https://{address}/health"

        root = pki.make_root("step-ca root")
        self.root_file = directory / "root.pem"
        self.root_file.write_bytes(root.fullchain_pem)
        # Its web server's certificate comes from the same intermediate as everything else.
        self.ca_file = self.root_file
        certificate, key = pki.make_intermediate(root).write(directory, "intermediate")
        claims = {
            "minTLSCertDuration": "1s",
            "maxTLSCertDuration": "8760h",
            "defaultTLSCertDuration": duration,
        }
        provisioner = {
            "type": "ACME",
            "name": "acme",
            "challenges": ["dns-01"],
            "requireEAB": require_eab,
            "claims": claims,
        }
        self._config = directory / "ca.json"
        self._config.write_text(
            json.dumps(
                {
                    "root": str(self.root_file),
                    "crt": str(certificate),
                    "key": str(key),
                    "address": address,
                    "dnsNames": ["127.0.0.1", "localhost"],
                    "logger": {"format": "text"},
                    "db": self._db(),
                    "authority": {"provisioners": [provisioner]},
                },
                indent=2,
            )
        )

    def _db(self) -> dict[str, str]:
        if self._database is None:
            return {"type": "badgerv2", "dataSource": str(self.directory / "db")}
        source = self._database.url().replace("@", f":{PASSWORD}@")
        return {"type": "postgresql", "dataSource": source, "database": "stepca"}

    def bind_accounts(self, key_id: str, key: bytes) -> None:
        """Lets accounts be bound with that key, as smallstep's hosted CA does in the same table."""
        assert self._database is not None, "no other program can write its own database"
        record = {  # letter by letter as the server writes it: it compares before it changes it
            "id": key_id,
            "provisionerID": "",
            "reference": "",
            "key": b64encode(key).decode(),
            "createdAt": "2026-01-01T00:00:00Z",
            "boundAt": "0001-01-01T00:00:00Z",
        }
        value = json.dumps(record, separators=(",", ":")).encode()
        with self._database.connect("stepca") as connection:
            connection.execute(
                "INSERT INTO acme_external_account_keys (nkey, nvalue) VALUES (%s, %s)",
                (key_id.encode(), value),
            )

    def command(self) -> Sequence[str | Path]:
        return [self._binary, "--resolver", self._resolver, self._config]

    def environment(self) -> Mapping[str, str]:
        # Without this it reads and writes ~/.step.
        return {"STEPPATH": str(self.directory / "step")}

    def is_ready(self) -> bool:
        return b"ok" in https(self._health_url, ca_file=self.ca_file)
