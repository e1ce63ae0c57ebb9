"""What the acts are played on: a CA, a service, a configuration, and a look at the wire."""

from __future__ import annotations

import fcntl
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, STDOUT

from cryptography import x509

from tests.parts import Nginx, Pebble, locate, pki
from tests.parts.client import served_leaf
from tests.parts.process import Server, free_port, wait_until

HOST = "demo.test"
ROW = 5
CERTROTD = str(Path(sys.executable).parent / "certrotd")


def find_pebble() -> Path | None:
    """The Pebble that scripts/parts builds, else the one from Debian: it is enough for a demo."""
    packaged = shutil.which("pebble")
    return locate.find("pebble") or (packaged and Path(packaged)) or None


def settled_leaf(port: int) -> x509.Certificate:
    """The leaf that five new connections in a row are shown.

    A busy machine leaves old workers of nginx time to take one that comes long after the reload.
    """
    seen: list[x509.Certificate] = []

    def agreed() -> bool:
        seen.append(served_leaf("127.0.0.1", port, HOST))
        return len(seen) >= ROW and all(each == seen[-1] for each in seen[-ROW:])

    wait_until(agreed, within=60, what="new connections are shown one certificate")
    return seen[-1]


class SmallServer(Server):
    """The stand-in for nginx."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        super().__init__(directory)
        self.port = free_port()
        self.config_path = directory / "pair.conf"
        self._pair = (certificate, key)

    def command(self) -> Sequence[str | Path]:
        script = Path(__file__).with_name("tlsserver.py")
        return [sys.executable, script, str(self.port), *self._pair, self.config_path]

    def is_ready(self) -> bool:
        return bool(served_leaf("127.0.0.1", self.port, HOST))


class Stage:
    """Servers that live as long as ``stack``, in ``directory``."""

    def __init__(self, directory: Path, stack: ExitStack, *, embedded: bool) -> None:
        self.directory = directory
        self._pebble = None if embedded else find_pebble()
        self._ca: Pebble | None = None
        nginx = None if embedded else locate.find("nginx")
        found = {"Pebble": self._pebble, "nginx": nginx}
        self.stand_ins = [what for what, path in found.items() if path is None]
        self.config = directory / "certrotd.yaml"
        self.certificate, self.key = self._old_pair()
        self.dns_port = free_port("both")
        issuer = self._issuer(stack)
        self.service, target = self._service(stack)
        self.config.write_text(self._configuration(issuer, target))

    def _old_pair(self) -> tuple[Path, Path]:
        root = pki.make_root("somebody's old CA")
        pair = pki.make_leaf(root, HOST, lifetime=timedelta(days=3))
        return pair.write(self.directory / "tls", "web")

    def _issuer(self, stack: ExitStack) -> str:
        if "Pebble" in self.stand_ins:
            return "{type: internal, lifetime: 30d}"
        dns = f"127.0.0.1:{self.dns_port}"
        directory = self.directory / "pebble"
        ca = Pebble(directory, dns=dns, nonce_reject=5, retry_after=0, binary=self._pebble)
        self._ca = stack.enter_context(ca)
        return (
            f'{{type: acme, directory: "{ca.directory_url}", ca_bundle: {ca.ca_file}, '
            "agree_to_terms: true}"
        )

    def _service(self, stack: ExitStack) -> tuple[Nginx | SmallServer, str]:
        if "nginx" in self.stand_ins:
            small = SmallServer(self.directory / "server", self.certificate, self.key)
            stack.enter_context(small)
            hang_up = f"import os, signal; os.kill({small.pid}, signal.SIGHUP)"
            return small, f'type: command\n    command: [{sys.executable}, -c, "{hang_up}"]'
        names = {HOST: (self.certificate, self.key)}
        nginx = stack.enter_context(Nginx(self.directory / "nginx", names))
        return nginx, (
            f"type: nginx\n    binary: {nginx.binary}\n    config: {nginx.config_path}\n"
            f"    prefix: {nginx.directory}\n    pid_file: {nginx.pid_file}"
        )

    def _configuration(self, issuer: str, target: str) -> str:
        return textwrap.dedent(f"""\
            state_dir: {self.directory}/state
            issuers:
              ca: {issuer}
            solvers:
              builtin:          # answers for the delegated zone itself: no DNS credentials
                type: responder
                listen: ["127.0.0.1:{self.dns_port}"]
                zones: [_acme-challenge.{HOST}]
                nameserver: ns.{HOST}
            dns:
              resolvers: ["127.0.0.1:{self.dns_port}"]
              propagation: {{servers: ["127.0.0.1:{self.dns_port}"]}}
            targets:
              server:
                TARGET
                probe: [{{address: "127.0.0.1:{self.service.port}", deadline: 3s}}]
            certificates:
              - name: web
                names: [{HOST}, "*.{HOST}"]
                adopt: {{privkey: {self.key}, fullchain: {self.certificate}}}
                install: [{{privkey: {self.key}, fullchain: {self.certificate}, mode: "0600"}}]
                targets: [server]
            """).replace("TARGET", target)

    def served(self) -> x509.Certificate:
        """The leaf that new connections are shown, asked for without certrotd."""
        return settled_leaf(self.service.port)

    def is_served(self, serial: int) -> bool:
        """Whether that is the serial that new connections are shown."""
        return self.served().serial_number == serial

    def generation(self) -> int:
        """The generation that is live."""
        live = self.directory / "state/certificates/web/live"
        return int(live.readlink().name)

    def newest(self) -> int:
        """The newest generation on disk, live or not."""
        folder = self.directory / "state/certificates/web/generations"
        return max(int(each.name) for each in folder.iterdir())

    def trusted(self) -> bool:
        """Whether a client that trusts the CA alone accepts what is served, name and chain."""
        roots = self.directory / "roots.pem"
        if self._ca is None:
            roots = self.directory / "state/internal/ca/root.pem"
        elif not roots.exists():
            roots.write_bytes(self._ca.roots()[0])
        context = ssl.create_default_context(cafile=str(roots))
        try:
            with socket.create_connection(("127.0.0.1", self.service.port), timeout=10) as plain:
                context.wrap_socket(plain, server_hostname=HOST).close()
        except ssl.SSLCertVerificationError:
            return False
        return True

    def orders(self) -> int | None:
        """How many orders the CA has been asked for, in its own words; None without Pebble."""
        if self._ca is None:
            return None
        return self._ca.log_file.read_text(errors="replace").count("Added order ")

    def pairs_are_whole(self) -> bool:
        """Whether keys and certificates, live and installed, belong together; OpenSSL says."""
        live = self.directory / "state/certificates/web/live"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_cert_chain(live / "fullchain.pem", live / "privkey.pem")
        except (OSError, ssl.SSLError):
            return False
        return True

    def sabotage(self) -> None:
        """The service is configured to a stale copy: a reload works and changes nothing."""
        stale = self.directory / "stale"
        stale.mkdir(exist_ok=True)
        copies = [stale / self.certificate.name, stale / self.key.name]
        for copy, original in zip(copies, (self.certificate, self.key), strict=True):
            copy.write_bytes(original.read_bytes())
        if isinstance(self.service, Nginx):
            text = self.service.config_path.read_text()
            text = text.replace(str(self.certificate), str(copies[0]))
            self.service.config_path.write_text(text.replace(str(self.key), str(copies[1])))
        else:
            self.service.config_path.write_text(f"{copies[0]} {copies[1]}")

    def mend(self) -> None:
        """The service is configured as before."""
        if isinstance(self.service, Nginx):
            self.service.mend_config()
        else:
            self.service.config_path.unlink()

    def certrotd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program as a user would, its output shown."""
        print(f"\n$ certrotd {' '.join(arguments)}", flush=True)
        run = subprocess.run(
            self._argv(arguments), stdout=PIPE, stderr=STDOUT, text=True, check=False, timeout=120
        )
        print(textwrap.indent(run.stdout, "  "), end="", flush=True)
        print(f"  (exit code {run.returncode})", flush=True)
        return run

    def killed_after(self, line: str, *arguments: str) -> None:
        """Run the program and end it with SIGKILL when it prints ``line``.

        Meanwhile the service is locked, as by another rotation whose files it reads: however late
        the signal comes, the program has not told it anything.
        """
        print(f"\n$ certrotd {' '.join(arguments)}   # and kill -9 after {line!r}", flush=True)
        with (self.directory / "state/locks/_target-server.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            process = subprocess.Popen(self._argv(arguments), stderr=PIPE, text=True)
            with process:
                for printed in process.stderr or ():
                    print(f"  {printed}", end="", flush=True)
                    if printed.strip() == line:
                        process.kill()
                        break
        print(f"  (ended by signal {-process.returncode})", flush=True)

    def _argv(self, arguments: Sequence[str]) -> list[str]:
        return [CERTROTD, "--config", str(self.config), *arguments]
