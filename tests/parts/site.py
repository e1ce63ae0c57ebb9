"""A configured certrotd of a test's own: its files, and the program run on them as users run it."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.parts import Bind, Nginx, Parts, Pebble, Resolver, StepCA
from tests.parts.pdns import PowerDnsServer
from tests.parts.process import wait_until

PROGRAM = Path(sysconfig.get_path("scripts")) / "certrotd"
Tree = dict[str, tuple[int, bytes]]


@dataclass(frozen=True)
class Run:
    """What one run of certrotd came to."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What ``--json`` printed, which must be all of standard output."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        """What was said on standard error."""
        return self.stderr.splitlines()

    def row(self, name: str) -> dict[str, Any]:
        """The entry of one certificate in a ``--json`` listing."""
        [found] = [row for row in self.json if row["name"] == name]
        assert isinstance(found, dict)
        return found


class Started:
    """A run that is still going on."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._read: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait_for(self, *texts: str) -> str:
        """Returns the line of standard error that has the text.

        Of several texts each is in a line of its own, in whatever order; the last line is returned.
        """
        assert self._process.stderr is not None
        wanted = list(texts)
        for line in self._process.stderr:
            self._read.append(line)
            if found := [text for text in wanted if text in line]:
                wanted.remove(found[0])
                if not wanted:
                    return line
        raise AssertionError(f"it ended without saying {wanted}: {''.join(self._read)}")

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal, as systemctl stop or Ctrl-C would."""
        self._process.send_signal(number)

    def end(self, *, within: float = 60.0) -> Run:
        """Waits for the end."""
        stdout, stderr = self._process.communicate(timeout=within)
        return Run(self._process.returncode, stdout, "".join(self._read) + stderr)


@dataclass(frozen=True)
class Gate:
    """Holds a target up until it is opened, for two minutes at the most."""

    begun: Path
    go: Path

    def wait(self, times: int = 1) -> None:
        """Returns once the target has been told that often."""
        said = "begun\n" * times
        wait_until(lambda: self.begun.exists() and self.begun.read_text().startswith(said))

    def open(self) -> None:
        """Lets the target end, now and whenever it is told again."""
        self.go.touch()


class Site:
    """A directory with a configuration; ``config`` is written anew before every run."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.path = directory / "config.yaml"
        self.state = directory / "state"
        self.store = self.state / "certificates"
        self.config: dict[str, Any] = {
            "state_dir": str(self.state),
            "issuers": {},
            "solvers": {},
            "targets": {},
            "certificates": [],
        }

    # What is configured.

    def internal(self, name: str = "ca", **options: Any) -> None:
        """Certificates come from the authority inside certrotd."""
        self.config["issuers"][name] = {"type": "internal", **options}

    def acme(self, ca: Pebble | StepCA, name: str = "ca", **options: Any) -> None:
        """Certificates come from that server."""
        self.config["issuers"][name] = {
            "type": "acme",
            "directory": ca.directory_url,
            "ca_bundle": str(ca.ca_file),
            "agree_to_terms": True,
            "timeout": "60s",
            "request_timeout": "30s",
            **options,
        }

    def rfc2136(self, bind: Bind, name: str = "dns", **options: Any) -> None:
        """Names are proven by signed updates of that server."""
        secret = self.directory / f"{name}.tsig"
        secret.touch(mode=0o600)
        secret.write_text(bind.key.secret)
        self.config["solvers"][name] = {
            "type": "rfc2136",
            "server": bind.server,
            "tsig": {"name": bind.key.name, "secret": {"file": str(secret)}},
            **options,
        }

    def dns(self, resolver: Resolver | PowerDnsServer, *, port: int, **options: Any) -> None:
        """What certrotd itself asks; the zones' own name servers listen on the port."""
        propagation = {"port": port, "interval": "1s", "timeout": "60s", **options}
        self.config["dns"] = {"resolvers": [resolver.server], "propagation": propagation}

    def certificate(self, name: str, *names: str, **options: Any) -> dict[str, Any]:
        """One more certificate; its entry may be changed before a run."""
        entry = {"name": name, "names": list(names), **options}
        self.config["certificates"].append(entry)
        return entry

    def nginx(
        self,
        nginx: Nginx,
        *names: str,
        target: str = "nginx",
        deadline: str = "8s",
        **options: Any,
    ) -> None:
        """A target that is this nginx, looked at under these server names."""
        self.config["targets"][target] = {
            "type": "nginx",
            "binary": str(nginx.binary),
            "config": str(nginx.config_path),
            "prefix": str(nginx.directory),
            "pid_file": str(nginx.pid_file),
            "probe": [probe(nginx, name, deadline) for name in names],
            **options,
        }

    def command(self, target: str, script: str, **options: Any) -> Path:
        """A target that runs a shell script of the test's; gives its path."""
        path = self.directory / f"{target}.sh"
        path.write_text(f"#!/bin/sh\nset -eu\n{script}\n")
        path.chmod(0o755)
        self.config["targets"][target] = {"type": "command", "command": [str(path)], **options}
        return path

    def gate(self, target: str) -> Gate:
        """A target that a test lets end."""
        gate = Gate(self.directory / "begun", self.directory / "go")
        wait = f"while [ ! -e {gate.go} ] && [ $n -lt 2400 ]; do sleep 0.05; n=$((n+1)); done"
        self.command(target, f"echo begun >> {gate.begun}\nn=0\n{wait}", timeout="2m")
        return gate

    def webhook(self, url: str, key: bytes, name: str = "ops", **options: Any) -> None:
        """Alerts are posted there, signed with the key."""
        secret = self.directory / "webhook.key"
        secret.touch(mode=0o600)
        secret.write_text(f"whsec_{base64.b64encode(key).decode()}\n")
        to = {"type": "webhook", "url": url, "secret": {"file": str(secret)}, **options}
        self.config.setdefault("notifications", {})[name] = to

    @contextlib.contextmanager
    def without_targets(self) -> Iterator[None]:
        """Leaves the certificates' targets out, for the time before there is a service."""
        kept = [entry.pop("targets", None) for entry in self.config["certificates"]]
        yield
        for entry, targets in zip(self.config["certificates"], kept, strict=True):
            if targets is not None:
                entry["targets"] = targets

    def serve(self, parts: Parts, served: Mapping[str, str], **options: Any) -> Nginx:
        """Starts an nginx on the live certificates, which is their target from now on.

        ``served`` is the certificate by server name. Certificates not there yet are issued first.
        """
        with self.without_targets():
            self.rotate(*dict.fromkeys(served.values()))
        files = {name: self.files(certificate) for name, certificate in served.items()}
        nginx = parts.start(Nginx, files)
        self.nginx(nginx, **options)
        for entry in self.config["certificates"]:
            names = [name for name, certificate in served.items() if certificate == entry["name"]]
            if names:
                probes = [probe(nginx, name) for name in names]
                entry["targets"] = [{"target": "nginx", "probe": probes}]
        return nginx

    def pinned(self, parts: Parts, name: str, host: str) -> Nginx:
        """Starts an nginx on the live generation's own folder: it never serves another one.

        It is the certificate's target, and its proof would take a minute.
        """
        folder = self.live(name)
        nginx = parts.start(Nginx, {host: (folder / "fullchain.pem", folder / "privkey.pem")})
        self.nginx(nginx)
        for entry in self.config["certificates"]:
            if entry["name"] == name:
                entry["targets"] = [{"target": "nginx", "probe": [probe(nginx, host, "60s")]}]
        return nginx

    def files(self, name: str) -> tuple[Path, Path]:
        """What a service is told to read: the chain and the key, by way of ``live``."""
        live = self.store / name / "live"
        return live / "fullchain.pem", live / "privkey.pem"

    # Running it.

    def run(self, *arguments: str, within: float = 100.0) -> Run:
        """Runs the console script to its end."""
        return self.start(*arguments).end(within=within)

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> Started:
        """Starts the console script, by the program ``within`` if there is one."""
        self.write()
        return Started(
            subprocess.Popen(
                [*within, *self.command_line(*arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment(environment or {}),
            )
        )

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Of the console script."""
        return {**os.environ, "PYTHONWARNINGS": "default", **more}

    def command_line(self, *arguments: str) -> list[str]:
        """The console script on this configuration, by the interpreter of the tests."""
        return [sys.executable, str(PROGRAM), "-c", str(self.path), *arguments]

    def write(self) -> None:
        """Writes the configuration file."""
        self.path.write_text(yaml.safe_dump(self.config, sort_keys=False))
        self.path.chmod(0o644)

    def rotate(self, *arguments: str, expect: int = 0) -> Run:
        """``rotate --json`` (of all, unless certificates are named), which must end like that.

        A daemon that works on one of them just then is waited for.
        """
        named = [argument for argument in arguments if not argument.startswith("-")]
        run = self.run("rotate", "--json", "--wait=60s", *(() if named else ("--all",)), *arguments)
        assert run.code == expect, f"exit code {run.code}\n{run.stdout}{run.stderr}"
        return run

    def status(self, name: str, *arguments: str) -> dict[str, Any]:
        """The entry of ``status --json`` of one certificate."""
        run = self.run("status", "--json", name, *arguments)
        assert run.code == 0, run.stderr
        return run.row(name)

    # What is on disk.

    def live(self, name: str) -> Path:
        """The generation that ``live`` leads to."""
        return (self.store / name / "live").resolve(strict=True)

    def generation(self, name: str) -> int:
        """The number of the live generation."""
        return int(self.live(name).name)

    def generations(self, name: str) -> list[int]:
        """The numbers of every generation, oldest first."""
        return sorted(int(each.name) for each in self.sealed(name))

    def sealed(self, name: str) -> list[Path]:
        """The folder of every generation."""
        folder = self.store / name / "generations"
        return [each for each in folder.iterdir() if each.name.isdigit()]

    def leaf(self, name: str, generation: int | None = None) -> x509.Certificate:
        """The leaf of a generation, the live one by default; its key has to belong to it."""
        number = self.generation(name) if generation is None else generation
        folder = self.store / name / "generations" / f"{number:06d}"
        return matching(folder / "privkey.pem", folder / "fullchain.pem")

    def history(self, name: str) -> list[dict[str, Any]]:
        """What ``history --json`` lists of one certificate."""
        lines = self.run("history", name, "--json", "-n", "500").json
        assert isinstance(lines, list)
        return lines

    def tree(self) -> Tree:
        """Everything below the state directory but the locks, which note who held them last."""
        found = snapshot(self.state).items()
        return {at: seen for at, seen in found if at[:6] != "locks/" and at != "audit/lock"}

    def leftovers(self) -> list[str]:
        """What a finished, failed or recovered rotation must not leave behind."""
        return sorted(
            str(path.relative_to(self.directory))
            for path in self.directory.rglob("*")
            if is_leftover(path)
        )


def probe(nginx: Nginx, name: str, deadline: str = "8s") -> dict[str, str]:
    """An endpoint to look at: that nginx under a server name."""
    return {"address": f"127.0.0.1:{nginx.port}", "sni": name, "deadline": deadline}


def serves(nginx: Nginx, name: str, leaf: x509.Certificate) -> bool:
    """Whether that is the certificate a client is shown, now or as soon as old workers are gone."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: nginx.served(name) == leaf)
        return True
    return False


def is_leftover(path: Path) -> bool:
    """Whether a path is a temporary file, something staged or displaced, or an open journal."""
    return (
        path.name.endswith(".certrotd-tmp")
        or path.name.startswith((".staging-", ".trash-"))
        or path.parent.name == "displaced"
        or (path.suffix == ".jsonl" and "journal" in path.parts)
    )


def matching(key: Path, chain: Path) -> x509.Certificate:
    """The first certificate of a PEM file, whose key has to be the one in the other."""
    return pair_of(key.read_bytes(), chain.read_bytes())


def pair_of(key: bytes, chain: bytes) -> x509.Certificate:
    """The first certificate of a PEM text, to which the key has to belong."""
    certificate = x509.load_pem_x509_certificates(chain)[0]
    private = load_pem_private_key(key, None)
    assert private.public_key() == certificate.public_key(), "the key is another certificate's"
    return certificate


def snapshot(directory: Path) -> Tree:
    """Every file, folder and link below a directory: mode and content by relative path."""
    found: Tree = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = b""
        if path.is_symlink():
            content = os.readlink(path).encode()
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(directory))] = (status.st_mode, content)
    return found


def exposed_keys(directory: Path, *, allowed: Sequence[Path] = ()) -> list[str]:
    """Files that hold a private key, or what was displaced, and that others than the owner read."""
    return [
        str(path)
        for path in directory.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and path not in allowed
        and path.stat().st_mode & 0o077
        and ("displaced" in path.parts or b"PRIVATE KEY" in path.read_bytes())
    ]


def orders(pebble: Pebble) -> int:
    """How many orders a Pebble has been asked for."""
    return pebble.log_file.read_text(errors="replace").count("Added order ")


def issued(pebble: Pebble) -> int:
    """How many certificates a Pebble has issued."""
    return pebble.log_file.read_text(errors="replace").count("Issued certificate serial ")


def why_failed(run: Run, name: str) -> str:
    """The one line that says why a certificate failed."""
    row = run.row(name)
    assert row["failed"], row
    why = row["why"]
    assert isinstance(why, str)
    assert why.isprintable()
    return why
