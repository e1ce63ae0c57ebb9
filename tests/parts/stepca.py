"""step-ca: a second ACME server that shares no code with Pebble, and has no ARI."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts import locate, pki
from tests.parts.client import https
from tests.parts.process import Server, free_port


class StepCA(Server):
    """A CA with a database on disk: `restart` keeps its accounts and orders.

    resolver: "ip:port" it asks for TXT. duration: of every certificate, in Go's notation.
    require_eab: refuses every new account, as the open-source server has no way to make keys.
    """

    def __init__(
        self,
        directory: Path,
        *,
        resolver: str,
        duration: str = "5m",
        require_eab: bool = False,
    ) -> None:
        super().__init__(directory)
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
                    "db": {"type": "badgerv2", "dataSource": str(directory / "db")},
                    "authority": {"provisioners": [provisioner]},
                },
                indent=2,
            )
        )

    def command(self) -> Sequence[str | Path]:
        return [self._binary, "--resolver", self._resolver, self._config]

    def environment(self) -> Mapping[str, str]:
        # Without this it reads and writes ~/.step.
        return {"STEPPATH": str(self.directory / "step")}

    def is_ready(self) -> bool:
        return b"ok" in https(self._health_url, ca_file=self.ca_file)
