"""Apache HTTP Server, which restarts gracefully."""

import os
from collections.abc import Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.starttls import Plain


class Apache(Plain):
    """It answers every request at ``port`` by itself; its files are in ``home``."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory, certificate, key)
        self.binary = locate.require("apache2")
        self.pid_file = self.home / "apache2.pid"
        self.config = self.home / "apache2.conf"
        pages = self.home / "www"
        pages.mkdir()
        (pages / "index.html").write_text("ok\n")
        modules = Path("/usr/lib/apache2/modules")
        loaded = "\n".join(
            f"LoadModule {name}_module {modules}/mod_{name}.so"
            for name in ("mpm_event", "authz_core", "dir", "ssl")
        )
        user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
        self.config.write_text(f"""\
{loaded}
{user}
ServerRoot {self.home}
ServerName mail.example.test
PidFile {self.pid_file}
DefaultRuntimeDir {self.home}
ErrorLog {self.home}/error.log
Listen 127.0.0.1:{self.port}
DocumentRoot {pages}
DirectoryIndex index.html
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
""")

    def command(self) -> Sequence[str | Path]:
        return [self.binary, "-f", self.config, "-D", "FOREGROUND"]

    def is_ready(self) -> bool:
        return self.answers() and self.pid_file.exists()
