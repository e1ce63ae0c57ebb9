"""What every target promises, the one in memory, a program's and a real nginx alike."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from certrotd.certs.ports import Target
from certrotd.errors import Failure
from certrotd.pki.facts import fingerprint
from certrotd.targets.command import CommandTarget
from certrotd.targets.nginx import NginxTarget
from tests.fakes.target import MemoryTarget
from tests.parts import Nginx, locate, pki
from tests.parts.process import wait_until

NAME = "a.example.test"
CA = pki.make_intermediate(pki.make_root())
OLD = pki.make_leaf(CA, NAME)
NEW = pki.make_leaf(CA, NAME)


@dataclass(frozen=True)
class Bench:
    """A target with the files it reads, and the leaf it is seen to serve."""

    target: Target
    put: Callable[[pki.Pair], None]
    put_garbage: Callable[[], object]
    serves: Callable[[], str | None]

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


@pytest.fixture(params=["memory", "command", "nginx"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Each target, serving OLD."""
    if request.param == "memory":
        return in_memory()
    if request.param == "command":
        return program(tmp_path)
    return real_nginx(request.getfixturevalue("nginx"), tmp_path)


def test_a_check_tells_nobody_anything(bench: Bench) -> None:
    """It comes before the swap, when the files are not yet to be read."""
    bench.target.check()
    bench.put(NEW)
    bench.target.check()
    assert bench.serves() == fingerprint(OLD.certificate)


def test_new_files_are_not_served_by_themselves(bench: Bench) -> None:
    """Else the tests below would prove nothing."""
    bench.put(NEW)
    assert bench.serves() == fingerprint(OLD.certificate)


def test_applying_makes_it_serve_what_is_in_its_files(bench: Bench) -> None:
    """And the old ones again, when they are put back."""
    bench.put(NEW)
    bench.target.apply()
    bench.awaits(NEW)
    bench.put(OLD)
    bench.target.apply()
    bench.awaits(OLD)


def test_applying_again_changes_nothing(bench: Bench) -> None:
    """A crash in the middle of it means that it is done twice."""
    bench.put(NEW)
    bench.target.apply()
    bench.target.apply()
    bench.awaits(NEW)


def test_what_it_cannot_use_is_refused_and_the_old_goes_on_being_served(bench: Bench) -> None:
    """A reload that fails must be heard of, and must not be an outage."""
    bench.put_garbage()
    with pytest.raises(Failure):
        bench.target.apply()
    assert bench.serves() == fingerprint(OLD.certificate)
    bench.put(NEW)
    bench.target.apply()
    bench.awaits(NEW)
