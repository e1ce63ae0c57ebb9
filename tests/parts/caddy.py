"""Caddy, with a certificate from files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.process import free_port
from tests.parts.starttls import Plain


class Caddy(Plain):
    """It answers at ``port`` for mail.example.test; ``admin`` is the address of its API."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory, certificate, key)
        self.binary = locate.require("caddy")
        self.admin = f"127.0.0.1:{free_port()}"
        self.config = self.home / "Caddyfile"
        self.config.write_text(f"""\
{{
	admin {self.admin}
	auto_https off
	storage file_system {self.home}
}}
https://mail.example.test:{self.port} {{
	bind 127.0.0.1
	tls {certificate} {key}
	respond ok
}}
""")

    def command(self) -> Sequence[str | Path]:
        return [self.binary, "run", "--config", self.config]

    def environment(self) -> Mapping[str, str]:
        return {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home)}

    def is_ready(self) -> bool:
        return self.answers()
