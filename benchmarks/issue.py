"""How long many certificates take: certrotd, certbot and lego against one Pebble and one BIND."""

import itertools
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509

from benchmarks.measure import Argv, Cost, ProgramFailed, run, run_each
from tests.parts import Bind, Parts, Pebble, Zone, locate

ZONE = "bench.test"
CERTROTD = Path(sys.executable).with_name("certrotd")


@dataclass(frozen=True)
class Result:
    """What one tool took for `count` certificates, set up as `setup` says."""

    tool: str
    setup: str
    count: int
    cost: Cost

    def scaled(self, count: int) -> Cost:
        """What so many certificates would take at the same pace."""
        factor = count / self.count
        return Cost(self.cost.wall * factor, self.cost.cpu * factor, self.cost.peak)


@dataclass(frozen=True)
class Servers:
    """The CA and the DNS server all tools are measured against."""

    pebble: Pebble
    bind: Bind


class Tool(ABC):
    """A way to get certificates, one after the other or in `lanes` processes side by side."""

    name: str
    setup: str

    def __init__(self, directory: Path, servers: Servers, lanes: int = 1) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.servers = servers
        self.lanes = lanes
        self.log = directory / "output.log"

    @abstractmethod
    def obtain(self, hosts: Sequence[str]) -> Cost:
        """Gets one certificate for each host name; accounts are there already."""

    @abstractmethod
    def certificate(self, host: str) -> Path:
        """Where the certificate of a host is then."""

    def measured(self, hosts: Sequence[str]) -> Result:
        """What it takes to get a certificate for each host, each of them looked at afterwards."""
        cost = self.obtain(hosts)
        for host in hosts:
            leaf = x509.load_pem_x509_certificates(self.certificate(host).read_bytes())[0]
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            if names.get_values_for_type(x509.DNSName) != [host]:
                raise ProgramFailed(f"{self.name}: {self.certificate(host)} is not for {host}")
        return Result(self.name, self.setup, len(hosts), cost)

    def _each(
        self, hosts: Sequence[str], command: Callable[[int, str], Argv], more: Mapping[str, str]
    ) -> Cost:
        """A process per host, dealt to the lanes."""

        def job(lane: int, host: str) -> Callable[[], Cost]:
            return lambda: run(command(lane, host), log=self.log, environment=more)

        lanes = range(self.lanes)
        return run_each([[job(lane, host) for host in hosts[lane :: self.lanes]] for lane in lanes])


class Certrotd(Tool):
    """One process for all; the account is registered within the measured time."""

    name = "certrotd"
    setup = "one process, rotate --all, concurrency as by default"

    def obtain(self, hosts: Sequence[str]) -> Cost:
        config = self.directory / "config.yaml"
        config.write_text(yaml.safe_dump(self._configuration(hosts)))
        return run([CERTROTD, "-c", config, "rotate", "--all"], log=self.log)

    def certificate(self, host: str) -> Path:
        return self.directory / "state" / "certificates" / host / "live" / "fullchain.pem"

    def _configuration(self, hosts: Sequence[str]) -> Mapping[str, object]:
        bind, pebble = self.servers.bind, self.servers.pebble
        secret = self.directory / "tsig"
        secret.touch(mode=0o600)
        secret.write_text(bind.key.secret)
        tsig = {"name": bind.key.name, "secret": {"file": str(secret)}}
        return {
            "state_dir": str(self.directory / "state"),
            "issuers": {
                "pebble": {
                    "type": "acme",
                    "directory": pebble.directory_url,
                    "ca_bundle": str(pebble.ca_file),
                    "agree_to_terms": True,
                }
            },
            "solvers": {
                "bind": {"type": "rfc2136", "server": bind.server, "zone": ZONE, "tsig": tsig}
            },
            "dns": {"resolvers": [bind.server], "propagation": {"port": bind.port}},
            "certificates": [{"name": host, "names": [host]} for host in hosts],
        }


class Certbot(Tool):
    """A process per certificate; its lock lets several run at once only in directories apart."""

    name = "certbot"

    def __init__(self, directory: Path, servers: Servers, lanes: int = 1) -> None:
        super().__init__(directory, servers, lanes)
        self.setup = f"{_side_by_side(lanes)}, propagation-seconds 0"
        self._program = locate.require("certbot")
        self._environment = {"REQUESTS_CA_BUNDLE": str(servers.pebble.ca_file)}
        self._credentials = directory / "rfc2136.ini"
        bind = servers.bind
        self._credentials.touch(mode=0o600)
        self._credentials.write_text(
            f"dns_rfc2136_server = {bind.address}\n"
            f"dns_rfc2136_port = {bind.port}\n"
            f"dns_rfc2136_name = {bind.key.name}\n"
            f"dns_rfc2136_secret = {bind.key.secret}\n"
            f"dns_rfc2136_algorithm = {bind.key.algorithm.upper()}\n"
        )
        for lane in range(lanes):
            arguments = ["--agree-tos", "--register-unsafely-without-email"]
            command = [*self._command(lane, "register"), *arguments]
            run(command, log=self.log, environment=self._environment)

    def obtain(self, hosts: Sequence[str]) -> Cost:
        return self._each(hosts, self._certonly, self._environment)

    def certificate(self, host: str) -> Path:
        [found] = self.directory.glob(f"*/config/live/{host}/fullchain.pem")
        return found

    def _certonly(self, lane: int, host: str) -> Argv:
        return [
            *self._command(lane, "certonly"),
            *("--dns-rfc2136", "--dns-rfc2136-credentials", self._credentials),
            *("--dns-rfc2136-propagation-seconds", "0"),
            *("--key-type", "ecdsa", "-d", host),
        ]

    def _command(self, lane: int, subcommand: str) -> list[str | Path]:
        home = self.directory / str(lane)
        folders = [f"--{kind}-dir={home / kind}" for kind in ("config", "work", "logs")]
        server = self.servers.pebble.directory_url
        return [self._program, subcommand, "--non-interactive", "--server", server, *folders]


class Lego(Tool):
    """A process per certificate; each lane has an account of its own."""

    name = "lego"

    def __init__(self, directory: Path, servers: Servers, lanes: int = 1) -> None:
        super().__init__(directory, servers, lanes)
        self.setup = f"{_side_by_side(lanes)}, no propagation check, polling interval 0"
        self._program = locate.require("lego")
        bind = servers.bind
        self._environment = {
            "LEGO_CA_CERTIFICATES": str(servers.pebble.ca_file),
            "RFC2136_NAMESERVER": bind.server,
            "RFC2136_TSIG_ALGORITHM": f"{bind.key.algorithm}.",
            "RFC2136_TSIG_KEY": bind.key.name,
            "RFC2136_TSIG_SECRET": bind.key.secret,
            "RFC2136_POLLING_INTERVAL": "0",
        }
        # It registers with the first certificate.
        self._each([f"first-{lane}.{ZONE}" for lane in range(lanes)], self._run, self._environment)

    def obtain(self, hosts: Sequence[str]) -> Cost:
        return self._each(hosts, self._run, self._environment)

    def certificate(self, host: str) -> Path:
        [found] = self.directory.glob(f"*/certificates/{host}.crt")
        return found

    def _run(self, lane: int, host: str) -> Argv:
        return [
            *(self._program, "--accept-tos", "--email", f"bench@{ZONE}"),
            *("--server", self.servers.pebble.directory_url),
            *("--path", self.directory / str(lane), "--dns", "rfc2136", "--dns.disable-cp"),
            *("--dns.resolvers", self.servers.bind.server, "--domains", host, "run"),
        ]


def measure(directory: Path, *, count: int, sample: int) -> list[Result]:
    """certrotd for `count` certificates and each peer, in every setup, for `sample`."""
    results: list[Result] = []
    numbers = itertools.count()
    shutil.rmtree(directory, ignore_errors=True)
    with ExitStack() as stack:
        parts = Parts(directory / "parts", stack)
        bind = parts.start(Bind, zones=[Zone(ZONE)])
        pebble = parts.start(Pebble, dns=bind.server, nonce_reject=0, retry_after=0)
        servers = Servers(pebble, bind)
        tools: list[tuple[type[Tool], int, int]] = [
            (Certrotd, 1, count),
            (Certbot, 1, sample),
            (Certbot, 2, sample),
            (Lego, 1, sample),
            (Lego, 2, sample),
        ]
        for kind, lanes, size in tools:
            tool = kind(directory / f"{kind.__name__.lower()}-{lanes}", servers, lanes)
            hosts = [f"host-{next(numbers):05d}.{ZONE}" for _ in range(size)]
            results.append(tool.measured(hosts))
    return results


def _side_by_side(lanes: int) -> str:
    return "one process after the other" if lanes == 1 else f"{lanes} processes side by side"
