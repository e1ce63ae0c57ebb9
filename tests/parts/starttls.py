"""Servers whose protocols begin without TLS: mail, a directory, chat."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.process import Server, free_port


class Plain(Server):
    """One with the pair at these paths; its own files are in ``home``, which all may enter."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory)
        self.certificate = certificate
        self.key = key
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix="certrotd-plain-"))
        self.home.chmod(0o755)

    def is_ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.settimeout(5)
            return bool(connection.recv(1))

    def answers(self) -> bool:
        """Whether its port takes a connection; raises OSError if not."""
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        return True

    def stop_serving(self) -> None:
        """Ends the processes; the files in ``home`` stay."""
        super().stop()

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)


class Postfix(Plain):
    """SMTP with STARTTLS; ``reload`` has it read its files again, ``more`` is for main.cf."""

    def __init__(self, directory: Path, certificate: Path, key: Path, *, more: str = "") -> None:
        super().__init__(directory, certificate, key)
        self.binary = locate.require("postfix")
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": self.home / "queue",
            "data_directory": self.home / "data",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "myhostname": "mail.example.test",
            "mynetworks_style": "host",
            "maillog_file": "/dev/stdout",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": certificate,
            "smtpd_tls_key_file": key,
            "alias_maps": "",
            "local_recipient_maps": "",
        }
        services = f"""\
{self.port} inet n - n - - smtpd
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
pickup unix n - n 60 1 pickup
postlog unix-dgram n - n - 1 postlogd
"""
        (self.home / "main.cf").write_text(
            "".join(f"{k} = {v}\n" for k, v in settings.items()) + more
        )
        (self.home / "master.cf").write_text(services)
        (self.home / "queue").mkdir()
        (self.home / "data").mkdir()
        shutil.chown(self.home / "data", "postfix")
        subprocess.run([self.binary, "-c", self.home, "check"], check=True, capture_output=True)

    @property
    def reload(self) -> Sequence[str]:
        """The command."""
        return [str(self.binary), "-c", str(self.home), "reload"]

    def command(self) -> Sequence[str | Path]:
        # "postfix start-fg" is a shell, and what it starts would outlive it
        return [locate.require("/usr/lib/postfix/sbin/master"), "-c", self.home, "-s"]


class Dovecot(Plain):
    """IMAP at ``port`` and POP3 at ``pop3``, each with STARTTLS; ``reload`` as Postfix."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory, certificate, key)
        self.binary = locate.require("dovecot")
        self.pop3 = free_port()
        self.config = self.home / "dovecot.conf"
        self.config.write_text(f"""\
protocols = imap pop3
base_dir = {self.home}/run
log_path = /dev/stderr
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
listen = 127.0.0.1
service imap-login {{
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = static
}}
""")

    @property
    def reload(self) -> Sequence[str]:
        return [str(self.binary), "-c", str(self.config), "reload"]

    def command(self) -> Sequence[str | Path]:
        return [self.binary, "-F", "-c", self.config]


class Slapd(Plain):
    """LDAP with StartTLS."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory, certificate, key)
        self.binary = locate.require("slapd")
        self._config = self.home / "slapd.conf"
        self._config.write_text(f"TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n")

    def command(self) -> Sequence[str | Path]:
        return [self.binary, "-d", "0", "-f", self._config, "-h", f"ldap://127.0.0.1:{self.port}"]

    def is_ready(self) -> bool:
        return self.answers()


class Prosody(Plain):
    """XMPP with STARTTLS for ``host``; SIGHUP has it read its files again."""

    host = "chat.example.test"

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory, certificate, key)
        self.binary = locate.require("prosody")
        self.pid_file = self.home / "prosody.pid"
        self._config = self.home / "prosody.cfg.lua"
        self._config.write_text(f"""\
run_as_root = true
daemonize = false
pidfile = "{self.pid_file}"
data_path = "{self.home}"
modules_enabled = {{ "tls", "saslauth", "posix" }}
modules_disabled = {{ "s2s" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
c2s_direct_tls_ports = {{}}
log = {{ info = "*console" }}
ssl = {{ certificate = "{certificate}", key = "{key}" }}
VirtualHost "{self.host}"
""")

    def command(self) -> Sequence[str | Path]:
        return [self.binary, "--config", self._config, "-F"]

    def environment(self) -> Mapping[str, str]:
        return {"HOME": str(self.home)}

    def is_ready(self) -> bool:
        return self.answers() and self.pid_file.exists()
