"""Apache HTTP Server, which restarts gracefully."""

import os
from collections.abc import Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.starttls import Plain


class Apache(Plain):
    """It answers every request at ``port`` by itself; its files are in ``home``.

    ``second`` is one more listener: its port, with a virtual host of another name there, which
    has a certificate and a key of its own.
    """

    def __init__(
        self,
        directory: Path,
        certificate: Path,
        key: Path,
        *,
        second: tuple[int, str, Path, Path] | None = None,
    ) -> None:
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
{_listener(second[0], (certificate, key), second[1], second[2:]) if second else ""}
""")

    def reads(self, former: Sequence[Path], files: Sequence[Path]) -> None:
        """Its configuration names those files in place of the former ones."""
        text = self.config.read_text()
        for one, other in zip(former, files, strict=True):
            text = text.replace(str(one), str(other))
        self.config.write_text(text)

    def command(self) -> Sequence[str | Path]:
        return [self.binary, "-f", self.config, "-D", "FOREGROUND"]

    def is_ready(self) -> bool:
        return self.answers() and self.pid_file.exists()


def _listener(port: int, main: Sequence[Path], name: str, own: Sequence[Path]) -> str:
    hosts = "".join(
        f"""\
<VirtualHost 127.0.0.1:{port}>
ServerName {server}
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
</VirtualHost>
"""
        for server, (certificate, key) in (("mail.example.test", main), (name, own))
    )
    return f"Listen 127.0.0.1:{port}\n{hosts}"
