"""A certrotd site of the test's own, and servers that a module's tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.containers import HOST, IMAGE, Web
from tests.parts import Bind, Parts, Pebble, Resolver, locate
from tests.parts.docker import Docker
from tests.parts.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty configuration."""
    return Site(tmp_path / "site")


@pytest.fixture(scope="module")
def zones(module_parts: Parts) -> tuple[Bind, Resolver]:
    """An authoritative server, and the recursive one in front of it."""
    locate.require("named")
    bind = module_parts.start(Bind)
    return bind, module_parts.start(Resolver, authoritative=[bind])


@pytest.fixture(scope="module")
def ca(module_parts: Parts, zones: tuple[Bind, Resolver]) -> Pebble:
    """A Pebble that rejects 5 % of the nonces."""
    locate.require("pebble")
    return module_parts.start(Pebble, dns=zones[0].server, nonce_reject=5, retry_after=0)


@pytest.fixture
def acme_site(site: Site, zones: tuple[Bind, Resolver], ca: Pebble) -> Site:
    """A configuration that proves names to Pebble by signed updates."""
    bind, resolver = zones
    site.acme(ca)
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port)
    return site


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """An engine that has an image with nginx."""
    locate.require_root()
    root = locate.require_part("systemd-base") / "rootfs.tar"
    with Docker() as engine:
        engine.run("import", root, IMAGE)
        yield engine


@pytest.fixture
def certified(site: Site) -> Site:
    """One with a certificate that nothing serves yet."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    return site


@pytest.fixture
def containers(docker: Docker, tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Makes containers, removed at the end."""
    made: list[str] = []

    def make(name: str, folder: str = "/certs/live") -> Web:
        made.append(name)
        return Web(docker, name, tmp_path, folder)

    yield make
    for name in made:
        docker.run("rm", "--force", "--volumes", name)
