"""A machine with systemd as its first process, and certrotd installed as the documentation says."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from tests.parts import locate, pki
from tests.parts.docker import Docker
from tests.parts.installed import ROOT, install
from tests.parts.site import pair_of

HOST = "example.test"
UNIT = "certrotd.service"
ROTATE = "certrotd-rotate.service"
TIMER = "certrotd-rotate.timer"
STORE = "/var/lib/certrotd/certificates"
NGINX_TLS = "/etc/nginx/tls"
_DNS = "127.0.0.1:5353"
_PEBBLE = "127.0.0.1:14000"
_PACKAGES = "lib/python3.11/site-packages"  # of the Python of Debian 12

_NGINX = f"""
server {{
    listen 443 ssl;
    server_name {HOST};
    ssl_certificate {NGINX_TLS}/web.crt;
    ssl_certificate_key {NGINX_TLS}/web.key;
}}
"""
_PEBBLE_UNIT = f"""
[Service]
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0
ExecStart=/usr/local/bin/pebble -strict -config /etc/pebble/config.json -dnsserver {_DNS}
ExecStartPost=/bin/sh -c 'until ss -Hltn src {_PEBBLE} | grep -q .; do sleep 0.02; done'
"""
_PEBBLE_CONFIG = {
    "pebble": {
        "listenAddress": _PEBBLE,
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/etc/pebble/web.crt",
        "privateKey": "/etc/pebble/web.key",
        "keyAlgorithm": "ecdsa",
        "retryAfter": {"authz": 1, "order": 1},
        "profiles": {"default": {"description": "default", "validityPeriod": 90 * 86_400}},
    }
}


class Machine:
    """A container called ``name``: what is done in it is done as root unless it says otherwise."""

    def __init__(self, docker: Docker, name: str, directory: Path) -> None:
        self._docker = docker
        self._name = name
        self._directory = directory
        self._since = ""
        self.config: dict[str, Any] = {}

    def boot(self) -> None:
        """Starts it with nginx, Pebble and certrotd's program."""
        base = locate.require_part("systemd-base") / "rootfs.tar"
        pebble = (locate.require("pebble"), Path("/usr/local/bin/pebble"))
        self._docker.boot(self._name, base, mounts=[pebble])
        self._install_program()
        own = pki.make_root("Pebble's own web server")
        certificate, key = pki.make_leaf(own, "127.0.0.1").write(self._directory, "web")
        self.write("/etc/pebble/web.crt", certificate.read_bytes())
        self.write("/etc/pebble/web.key", key.read_bytes())
        self.write("/etc/pebble/root.pem", own.fullchain_pem)
        self.write("/etc/pebble/config.json", json.dumps(_PEBBLE_CONFIG))
        self.write("/etc/systemd/system/pebble.service", _PEBBLE_UNIT)
        self.write("/etc/nginx/conf.d/web.conf", _NGINX)

    def _install_program(self) -> None:
        """What ``pip install certrotd`` would do, without a network."""
        site = self._directory / "site"
        install(site)
        program = (site / "bin/certrotd").read_text().split("\n", 1)[1]
        self.run("python3", "-m", "venv", "--without-pip", "/opt/certrotd")
        self.run("ln", "-s", "/opt/certrotd/bin/certrotd", "/usr/local/bin/certrotd")
        self.copy(site, f"/opt/certrotd/{_PACKAGES}")
        self.write(
            "/opt/certrotd/bin/certrotd", f"#!/opt/certrotd/bin/python\n{program}", mode="0755"
        )
        # the service may not write there, and would compile everything at every start
        self.run("python3", "-m", "compileall", "-q", "-j", "2", f"/opt/certrotd/{_PACKAGES}")

    @contextmanager
    def extra(self, name: str) -> Iterator[None]:
        """With what ``pip install '.[NAME]'`` adds, for the block."""
        site = self._directory / name
        install(site, name, itself=False)
        self.copy(site, f"/opt/{name}")
        found = f"/opt/certrotd/{_PACKAGES}/{name}.pth"
        self.write(found, f"/opt/{name}\n")
        try:
            yield
        finally:
            self.run("rm", found)

    def install(self) -> None:
        """Installs the service as the documentation says."""
        self.copy(ROOT / "deploy", "/root/certrotd/deploy")
        self.follow("install")

    def follow(self, block: str) -> None:
        """Does what the block of that name in the documentation says, to the letter."""
        page = (ROOT / "docs/operating-systemd.md").read_text()
        [script] = re.findall(rf"^```sh {block}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        self.run("sh", "-euc", f"cd /root/certrotd/deploy/systemd\n{script}")

    def reset(self) -> None:
        """Forgets what a test left: certificates, configuration, drop-ins, failures."""
        units = (UNIT, TIMER, ROTATE)
        self.run("systemctl", "kill", "--signal=KILL", *units, check=False)
        self.run("systemctl", "stop", *units)
        written = "/etc/systemd/system/certrotd*.d /etc/certrotd/*.yaml /etc/certrotd/credentials/*"
        self.run("sh", "-c", f"rm -rf {written} /var/lib/certrotd {NGINX_TLS} /srv/*")
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "reset-failed")
        old = pki.make_leaf(pki.make_root("somebody's old CA"), HOST)
        self.run("install", "-d", "-o", "certrotd", "-m", "0700", NGINX_TLS)
        self.write(f"{NGINX_TLS}/web.crt", old.fullchain_pem, owner="certrotd")
        self.write(f"{NGINX_TLS}/web.key", old.key_pem, owner="certrotd")
        self.run("systemctl", "restart", "nginx.service", "pebble.service")
        self._since = (
            self.run("journalctl", "--lines=0", "--show-cursor").split("cursor: ")[1].strip()
        )
        self.config = _configuration()
        for unit in (UNIT, ROTATE):
            self.drop_in("paths", f"ReadWritePaths={NGINX_TLS}", unit=unit)

    # What is done in it.

    def run(self, *argv: str, user: str = "root", check: bool = True) -> str:
        """What a program prints there, standard error at the end; it must succeed if checked."""
        ran = subprocess.run(
            [
                *(self._docker.client, "--host", self._docker.host),
                *("exec", "--user", user, self._name, *argv),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and ran.returncode:
            raise AssertionError(f"{argv} exited with {ran.returncode}: {ran.stdout}{ran.stderr}")
        return ran.stdout + ran.stderr

    def fails(self, *argv: str, user: str = "root") -> str:
        """What a program says there that must not succeed."""
        said = self.run("sh", "-c", '"$@" && echo DONE', "-", *argv, user=user, check=False)
        assert "DONE" not in said.splitlines(), f"{argv} succeeded: {said}"
        return said

    def systemctl(self, *argv: str) -> str:
        """As root."""
        return self.run("systemctl", *argv)

    def show(self, name: str, unit: str = UNIT) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def wait(self, name: str, value: str, unit: str = UNIT, *, within: float = 120.0) -> None:
        """Returns when a property of a unit has that value."""
        self.until(lambda: self.show(name, unit) == value, within=within)

    def until(self, condition: Callable[[], bool], *, within: float = 120.0) -> None:
        """Returns when the condition holds; else the journal says why it does not."""
        end = time.monotonic() + within
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {within} s\n{self.log()}")
            time.sleep(0.1)

    def log(self, unit: str = UNIT) -> str:
        """What the journal has of a unit since the test began."""
        since = f"--after-cursor={self._since}"
        # what was said a moment ago may not be there yet
        told = f"journalctl --sync && journalctl --no-pager --output=cat --unit={unit} '{since}'"
        return self.run("sh", "-c", told)

    def copy(self, source: Path, to: str) -> None:
        """A directory's content, into a directory."""
        self.run("mkdir", "-p", to)
        self._docker.run("cp", f"{source}/.", f"{self._name}:{to}")

    def write(
        self, path: str, content: str | bytes, *, mode: str = "0644", owner: str = "root"
    ) -> None:
        """A file with that content; its directory is made if need be."""
        local = self._directory / "written"
        local.write_bytes(content if isinstance(content, bytes) else content.encode())
        self._docker.run("cp", local, f"{self._name}:/root/written")
        self.run("install", "-D", "-m", mode, "-o", owner, "/root/written", path)

    def read(self, path: str) -> str:
        """The content of a text file."""
        return self.run("cat", path)

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.run("sh", "-c", f"test -e {path} && echo yes || true").strip() == "yes"

    # certrotd there.

    def configure(self) -> None:
        """Writes the configuration."""
        self.write("/etc/certrotd/config.yaml", yaml.safe_dump(self.config, sort_keys=False))

    def drop_in(self, name: str, *lines: str, unit: str = UNIT, section: str = "Service") -> None:
        """As ``systemctl edit`` would."""
        text = "\n".join([f"[{section}]", *lines, ""])
        self.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
        self.systemctl("daemon-reload")

    def certrotd(self, *argv: str) -> str:
        """The program run by hand, as the documentation says."""
        return self.run("runuser", "-u", "certrotd", "--", "certrotd", *argv)

    def generations(self, name: str = "web") -> list[int]:
        """The numbers of the generations of a certificate."""
        listed = self.run("sh", "-c", f"ls {STORE}/{name}/generations 2>/dev/null || true")
        return sorted(int(each) for each in listed.split())

    def live(self, name: str = "web") -> int:
        """The number of the live generation of a certificate, 0 while there is none."""
        led = self.run("sh", "-c", f"readlink {STORE}/{name}/live || true").strip()
        return int(led.rpartition("/")[2] or 0)

    def leaf(self, name: str = "web") -> x509.Certificate:
        """The live leaf of a certificate; its key has to belong to it."""
        generation = f"{STORE}/{name}/generations/{self.live(name):06d}"
        return self.pair(f"{generation}/privkey.pem", f"{generation}/fullchain.pem")

    def pair(self, key: str, chain: str) -> x509.Certificate:
        """The leaf of a chain, to which a key has to belong."""
        return pair_of(self.read(key).encode(), self.read(chain).encode())

    def served(self) -> x509.Certificate:
        """The leaf that a client of nginx is shown."""
        asked = ("openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", HOST)
        return x509.load_pem_x509_certificate(self.run(*asked, check=False).encode())

    def serves(self, leaf: x509.Certificate) -> bool:
        """Whether nginx shows that one, now or as soon as its old workers are gone."""
        end = time.monotonic() + 60
        while (seen := self.served()) != leaf and time.monotonic() < end:
            time.sleep(0.1)
        return seen == leaf


def _configuration() -> dict[str, Any]:
    issuer = {
        "type": "acme",
        "directory": f"https://{_PEBBLE}/dir",
        "ca_bundle": "/etc/pebble/root.pem",
        "agree_to_terms": True,
    }
    solver = {
        "type": "responder",
        "listen": [_DNS],
        "zones": [f"_acme-challenge.{HOST}"],
        "nameserver": f"ns.{HOST}",
    }
    copies = {"privkey": f"{NGINX_TLS}/web.key", "fullchain": f"{NGINX_TLS}/web.crt"}
    probe = {"address": "127.0.0.1:443", "sni": HOST, "deadline": "8s"}
    return {
        "issuers": {"ca": issuer},
        "solvers": {"own": solver},
        "dns": {"resolvers": [_DNS], "propagation": {"servers": [_DNS]}},
        "targets": {"nginx": {"type": "systemd", "unit": "nginx.service", "probe": [probe]}},
        "certificates": [
            {
                "name": "web",
                "names": [HOST],
                "install": [{**copies, "mode": "0600"}],
                "targets": ["nginx"],
            }
        ],
    }
