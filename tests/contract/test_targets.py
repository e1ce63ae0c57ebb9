"""What every target promises: the one in memory, a program's, a unit's, real servers' alike."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from certrotd.certs.target_ports import Target
from certrotd.errors import Failure
from certrotd.pki.facts import fingerprint
from certrotd.pki.generation import LiveCertificate
from certrotd.targets.command import CommandTarget
from certrotd.targets.haproxy import HaproxyTarget
from certrotd.targets.nginx import NginxTarget
from certrotd.targets.signal import SignalTarget
from certrotd.targets.systemd import SystemdTarget
from tests.builders import NAME, NEW, OLD
from tests.fakes.target import MemoryTarget
from tests.parts import Nginx, locate, pki
from tests.parts.haproxy import Haproxy
from tests.parts.process import wait_until
from tests.parts.systemctl import Systemctl, Unit


@dataclass(frozen=True)
class Bench:
    """A target with the files it reads, and the leaf it is seen to serve.

    ``hears``: it is told by the service when that cannot use the files. Else the probe tells.
    """

    target: Target
    put: Callable[[pki.Pair], None]
    put_garbage: Callable[[], object]
    serves: Callable[[], str | None]
    hears: bool = True

    def awaits(self, pair: pki.Pair) -> None:
        """Returns once it serves the pair; a reload is asynchronous."""
        wait_until(lambda: self.serves() == fingerprint(pair.certificate), what="new leaf")


def in_memory() -> Bench:
    """The fake."""
    files: list[tuple[bytes, bytes]] = []

    def put(pair: pki.Pair) -> None:
        files[:] = [(pair.key_pem, pair.fullchain_pem)]

    def put_garbage() -> None:
        files[:] = [(b"", b"")]

    target = MemoryTarget("web", lambda: files[0])
    put(OLD)
    target.apply()
    return Bench(target, put, put_garbage, lambda: target.serves)


def program(tmp_path: Path) -> Bench:
    """A service that is told by a program: openssl copies the certificate, if it is one."""
    source, served = tmp_path / "web.crt", tmp_path / "served.crt"
    openssl = str(locate.require("openssl"))

    def put(pair: pki.Pair) -> None:
        source.write_bytes(pair.fullchain_pem)

    def serves() -> str:
        return fingerprint(x509.load_pem_x509_certificate(served.read_bytes()))

    read = (openssl, "x509", "-in", str(source))
    target = CommandTarget((*read, "-out", str(served)), check_command=(*read, "-noout"))
    put(OLD)
    target.apply()
    return Bench(target, put, lambda: source.write_text("garbage"), serves)


def real_nginx(nginx: Callable[..., Nginx], tmp_path: Path) -> Bench:
    """An nginx, told by a signal."""
    files = OLD.write(tmp_path / "files", "web")
    server = nginx({NAME: files})
    target = NginxTarget(
        binary=str(server.binary),
        config=str(server.config_path),
        prefix=str(server.directory),
        pid_file=server.pid_file,
    )

    def put(pair: pki.Pair) -> None:
        pair.write(tmp_path / "files", "web")

    def serves() -> str:
        return fingerprint(server.served(NAME))

    return Bench(target, put, lambda: files[0].write_text("garbage"), serves)


def unit(systemctl: Systemctl) -> Bench:
    """A unit of a played systemctl, which serves from memory; see tests/systemd."""
    files: list[tuple[bytes, bytes]] = []
    service = MemoryTarget("web", lambda: files[0])

    def reload(_verb: str) -> str:
        try:
            service.apply()
        except Failure:
            return "Job for web.service failed."
        return ""

    def put(pair: pki.Pair) -> None:
        files[:] = [(pair.key_pem, pair.fullchain_pem)]

    def put_garbage() -> None:
        files[:] = [(b"", b"")]

    systemctl.units["web.service"] = Unit(job=reload)
    target = SystemdTarget("web.service")
    put(OLD)
    target.apply()
    return Bench(target, put, put_garbage, lambda: service.serves)


_READS_AT_A_HANGUP = """
import pathlib, signal, ssl, sys
source, served = map(pathlib.Path, sys.argv[1:])
def read(*_):
    text = source.read_text()
    if text.startswith("-----BEGIN CERTIFICATE-----"):
        part = served.with_suffix(".part")
        part.write_text(text)
        part.rename(served)
signal.signal(signal.SIGHUP, read)
read()
print("ready", flush=True)
while True:
    signal.pause()
"""


@dataclass(frozen=True)
class Told:
    """HAProxy's target, told for one certificate."""

    target: HaproxyTarget
    certificate: LiveCertificate

    def check(self) -> None:
        self.target.checked_for([self.certificate])

    def apply(self) -> None:
        self.target.apply_for([self.certificate])


@contextmanager
def real_haproxy(tmp_path: Path) -> Iterator[Bench]:
    """An HAProxy, told over its socket."""
    file = tmp_path / "web.pem"

    def put(pair: pki.Pair) -> None:
        file.write_bytes(pair.key_pem + pair.fullchain_pem)

    put(OLD)
    with Haproxy(tmp_path / "haproxy", f"crt {file}") as server:
        web = LiveCertificate("web", (NAME,), str(tmp_path), combined=(str(file),))
        target = Told(HaproxyTarget(server.socket), web)
        yield Bench(
            target,
            put,
            lambda: file.write_text("garbage"),
            lambda: fingerprint(server.served(NAME)),
        )


@contextmanager
def process(tmp_path: Path) -> Iterator[Bench]:
    """A process that reads its certificate at a hangup, and tells nobody whether it could."""
    source, served, pid_file = (tmp_path / name for name in ("web.crt", "served.crt", "web.pid"))

    def put(pair: pki.Pair) -> None:
        source.write_bytes(pair.fullchain_pem)

    def serves() -> str:
        return fingerprint(x509.load_pem_x509_certificate(served.read_bytes()))

    put(OLD)
    argv = [sys.executable, "-I", "-c", _READS_AT_A_HANGUP, str(source), str(served)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        pid_file.write_text(f"{started.pid}\n")
        try:
            target = SignalTarget(pid_file)
            yield Bench(target, put, lambda: source.write_text("garbage"), serves, hears=False)
        finally:
            started.kill()


class TargetClaims:
    """The claims; a subclass has a fixture ``bench`` whose target serves OLD."""

    def test_a_check_tells_nobody_anything(self, bench: Bench) -> None:
        """It comes before the swap, when the files are not yet to be read."""
        bench.target.check()
        bench.put(NEW)
        bench.target.check()
        assert bench.serves() == fingerprint(OLD.certificate)

    def test_new_files_are_not_served_by_themselves(self, bench: Bench) -> None:
        """Else the tests below would prove nothing."""
        bench.put(NEW)
        assert bench.serves() == fingerprint(OLD.certificate)

    def test_applying_makes_it_serve_what_is_in_its_files(self, bench: Bench) -> None:
        """And the old ones again, when they are put back."""
        bench.put(NEW)
        bench.target.apply()
        bench.awaits(NEW)
        bench.put(OLD)
        bench.target.apply()
        bench.awaits(OLD)

    def test_applying_again_changes_nothing(self, bench: Bench) -> None:
        """A crash in the middle of it means that it is done twice."""
        bench.put(NEW)
        bench.target.apply()
        bench.target.apply()
        bench.awaits(NEW)

    def test_what_it_cannot_use_is_refused_and_the_old_goes_on_being_served(
        self, bench: Bench
    ) -> None:
        """A reload that fails must be heard of, and must not be an outage."""
        bench.put_garbage()
        with pytest.raises(Failure) if bench.hears else nullcontext():
            bench.target.apply()
        assert bench.serves() == fingerprint(OLD.certificate)
        bench.put(NEW)
        bench.target.apply()
        bench.awaits(NEW)


class TestTargets(TargetClaims):
    """Those that need no machine of their own; tests/systemd has a unit of a real systemd."""

    @pytest.fixture(params=["memory", "command", "nginx", "systemd", "signal", "haproxy"])
    def bench(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
        """Each target, serving OLD."""
        made: AbstractContextManager[Bench]
        match request.param:
            case "memory":
                made = nullcontext(in_memory())
            case "command":
                made = nullcontext(program(tmp_path))
            case "nginx":
                made = nullcontext(real_nginx(request.getfixturevalue("nginx"), tmp_path))
            case "systemd":
                made = nullcontext(unit(request.getfixturevalue("systemctl")))
            case "haproxy":
                made = real_haproxy(tmp_path)
            case _:
                made = process(tmp_path)
        with made as bench:
            yield bench
