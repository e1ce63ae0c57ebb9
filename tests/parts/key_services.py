"""The key services that tests run against: AWS by moto, the transit engine of Vault, SoftHSM."""

import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.parts import locate
from tests.parts.process import Server, free_port


class Moto(Server):
    """AWS KMS as moto plays it; it asks for no valid credentials."""

    REGION = "eu-central-1"

    def __init__(self, directory: Path) -> None:
        locate.require_servers("moto")
        super().__init__(directory)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]

    def is_ready(self) -> bool:
        return _answered(self._port, "/moto-api/")

    def ask(self, operation: str, *, service: str = "kms", **given: Any) -> dict[str, Any]:
        """What a service answers to an operation, by its name in boto3."""
        import boto3  # type: ignore[import-untyped]

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        client = boto3.client(service, region_name=self.REGION, endpoint_url=self.url, **keys)
        try:
            answer: dict[str, Any] = getattr(client, operation)(**given)
        finally:
            client.close()
        return answer


class Transit(Server):
    """The transit engine of Vault, as tests/parts/vault_transit serves it."""

    MOUNT = "transit"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._binary = locate.require("vault-transit")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.token = secrets.token_hex(16)

    def command(self) -> Sequence[str | Path]:
        return [self._binary, f"127.0.0.1:{self._port}", self.MOUNT]

    def environment(self) -> Mapping[str, str]:
        return {"TRANSIT_TOKEN": self.token}

    def is_ready(self) -> bool:
        return _answered(self._port, "/v1/sys/health")

    def ask(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """What the engine answers; AssertionError for an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            headers = {"X-Vault-Token": self.token}
            connection.request(method, f"/v1/{self.MOUNT}/{path}", json.dumps(given), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, content
        found: dict[str, Any] = json.loads(content)["data"] if content else {}
        return found


class SoftHsm:
    """A token of SoftHSM; what calls it needs ``environment``."""

    MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
    PIN = "123456"

    def __init__(self, directory: Path, label: str = "certrotd") -> None:
        util = locate.require("softhsm2-util")
        self.directory = directory
        self.label = label
        self.tokens = directory / "tokens"
        self.tokens.mkdir(parents=True)
        self.config = directory / "softhsm2.conf"
        self.config.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\n"
            "log.level = ERROR\nslots.removable = false\n"
        )
        self.environment = {"SOFTHSM2_CONF": str(self.config)}
        run = [util, "--init-token", "--free", "--label", label, "--pin", self.PIN]
        self._run(*map(str, run), "--so-pin", "654321")

    def make_key(self, label: str, bits: int = 256) -> None:
        """An AES key that never leaves the token."""
        self._python(
            "session.generate_key(pkcs11.KeyType.AES, int(sys.argv[4]), label=sys.argv[5],"
            " store=True)",
            str(bits),
            label,
        )

    def forbid(self, label: str, *uses: str) -> None:
        """Let the key not be used for that any more: ENCRYPT, DECRYPT."""
        self._python(
            "key = session.get_key(label=sys.argv[4]);"
            " [key.__setitem__(pkcs11.Attribute[use], False) for use in sys.argv[5:]]",
            label,
            *uses,
        )

    def _python(self, act: str, *arguments: str) -> None:
        """In a process of its own: the module keeps its state in the one that loads it."""
        script = (
            "import sys, pkcs11\n"
            "token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])\n"
            f"with token.open(rw=True, user_pin=sys.argv[3]) as session:\n    {act}\n"
        )
        module = str(self.MODULE)
        self._run(sys.executable, "-c", script, module, self.label, self.PIN, *arguments)

    def _run(self, *argv: str) -> None:
        environment = {**os.environ, **self.environment}
        ran = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


def _answered(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    finally:
        connection.close()
