"""Targets in waves: each wave is told when the one before is proven; one that fails undoes all."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.parts import Nginx, Parts
from tests.parts.site import Site, probe, serves, why_failed

HOST = "example.test"


@dataclass
class Fleet:
    """A site whose certificate two nginx serve, the edge in wave 0 and the core in wave 1."""

    site: Site
    edge: Nginx
    core: Nginx
    seen: Path

    def serve(self, leaf: x509.Certificate) -> bool:
        """Whether both do."""
        return serves(self.edge, HOST, leaf) and serves(self.core, HOST, leaf)

    def uses(self, *targets: str) -> None:
        """The certificate's targets, in an order that is not that of the waves."""
        self.site.config["certificates"][0]["targets"] = list(targets)

    def spy(self, wave: int) -> None:
        """In that wave it is noted what the edge and the core serve, before and after an undo."""
        ports = f"{self.edge.port} {self.core.port}"
        show = "openssl x509 -noout -serial"
        self.site.command(
            "spy",
            f"for port in {ports}; do\n"
            f"  openssl s_client -connect 127.0.0.1:$port -servername {HOST} </dev/null 2>/dev/null"
            f" | {show} | cut -d= -f2 >> {self.seen}\ndone",
            wave=wave,
        )

    def spied(self) -> list[int]:
        """The serial numbers that were seen."""
        return [int(line, 16) for line in self.seen.read_text().split()]


@pytest.fixture
def fleet(parts: Parts, site: Site) -> Fleet:
    """Both serve generation 1."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    files = {HOST: site.files("web")}
    edge, core = parts.start(Nginx, files), parts.start(Nginx, files)
    site.nginx(edge, target="edge", wave=0)
    site.nginx(core, target="core", wave=1)
    for target, nginx in (("edge", edge), ("core", core)):
        proof = {**probe(nginx, HOST), "consecutive": 15}  # no old worker is left to answer
        site.config["targets"][target]["probe"] = [proof]
    fleet = Fleet(site, edge, core, site.directory / "seen")
    fleet.uses("core", "edge")
    site.rotate()
    return fleet


def test_waves_follow_their_numbers_and_wait_for_each_other(fleet: Fleet) -> None:
    """The order in which a certificate lists its targets is of no account."""
    site = fleet.site
    old = site.leaf("web")
    fleet.spy(wave=1)
    site.config["targets"]["core"]["wave"] = 2
    fleet.uses("core", "spy", "edge")

    site.rotate("--force")

    new = site.leaf("web")
    assert fleet.serve(new)
    # the wave between: the edge is proven to serve the new one, the core has not been told
    assert fleet.spied() == [new.serial_number, old.serial_number]


def test_a_wave_that_cannot_reload_undoes_the_ones_before(fleet: Fleet) -> None:
    """The core's configuration breaks after the checks: the edge is told again, and proven."""
    site = fleet.site
    old = site.leaf("web")
    site.command("saboteur", f"echo 'no_such_directive on;' >> {fleet.core.config_path}", wave=0)
    fleet.uses("core", "edge", "saboteur")

    run = site.rotate("--force", expect=1)

    assert why_failed(run, "web").startswith("apply: ")
    assert "no_such_directive" in why_failed(run, "web")
    assert run.row("web")["result"] == "failed"
    assert site.leaf("web") == old
    assert fleet.serve(old)
    assert (site.generation("web"), site.generations("web")) == (1, [1, 2])
    assert site.leftovers() == []

    fleet.core.mend_config()
    site.command("saboteur", "true", wave=0)
    site.rotate()
    assert site.generations("web") == [1, 2]  # deployed, not ordered again
    assert fleet.serve(site.leaf("web", 2))


def test_a_wave_that_does_not_prove_itself_undoes_the_ones_before(fleet: Fleet) -> None:
    """The core takes the reload and goes on with the old pair: nobody keeps the new one."""
    site = fleet.site
    old = site.leaf("web")
    # it reads the first generation's own folder from now on, whatever is renewed
    pinned = fleet.core.config_path.read_text().replace("/web/live/", "/web/generations/000001/")
    fleet.core.config_path.write_text(pinned)
    # soon in vain; on the way back a handshake is enough, since they are all the same
    site.config["targets"]["core"]["probe"][0] |= {"deadline": "1s", "consecutive": 1}
    fleet.spy(wave=2)
    fleet.uses("spy", "core", "edge")

    run = site.rotate("--force", expect=1)

    assert why_failed(run, "web").startswith("prove: ")
    assert f"127.0.0.1:{fleet.core.port} ({HOST}) does not serve" in why_failed(run, "web")
    assert site.leaf("web") == old
    assert fleet.serve(old)
    assert site.leftovers() == []
    # the third wave was never told, not even on the way back
    assert not fleet.seen.exists()


def test_a_last_wave_that_fails_undoes_every_one_before(fleet: Fleet) -> None:
    """Both are told, proven, told again and proven again, the old pair in place."""
    site = fleet.site
    old = site.leaf("web")
    fleet.spy(wave=2)
    path = site.directory / "spy.sh"
    # it fails on the way forward alone: one that cannot be told on the way back is test_rollback's
    path.write_text(f"{path.read_text()}[ $(wc -l < {fleet.seen}) -gt 2 ] || exit 3\n")
    fleet.uses("spy", "core", "edge")

    run = site.rotate("--force", expect=1)

    assert "exited with 3" in why_failed(run, "web")
    assert site.leaf("web") == old
    assert fleet.serve(old)
    new = site.leaf("web", 2)
    # as the last wave began both served the new one; as it was told again, both the old one
    assert fleet.spied() == [new.serial_number] * 2 + [old.serial_number] * 2
    assert run.row("web")["result"] == "failed"
    recorded = {each["name"]: each["generation"] for each in site.status("web")["targets"]}
    assert recorded == {"edge": 1, "core": 1, "spy": None}
    assert site.leftovers() == []


def test_a_target_that_cannot_reload_does_not_stop_the_undo_of_others(
    fleet: Fleet,
) -> None:
    """It is said, and tried again; the others serve the old pair meanwhile."""
    site = fleet.site
    old = site.leaf("web")
    mended = site.directory / "mended"
    # told once, then no more; it is the first to be told, forth and back
    once = site.directory / "once"
    site.command("first", f"test -e {mended} || mkdir {once}", wave=0)
    site.command("last", f"test -e {mended}", wave=2)
    site.config["targets"]["edge"]["wave"] = 1
    fleet.uses("first", "edge", "core", "last")

    run = site.rotate("--force", expect=1)

    assert run.row("web")["result"] == "stuck"
    assert "first.sh exited with 1" in why_failed(run, "web")
    assert site.leaf("web") == old
    assert fleet.serve(old)

    mended.touch()
    assert site.rotate(expect=1).row("web")["recovered"] == "failed"  # undone at last
    site.rotate()
    assert fleet.serve(site.leaf("web", 2))
    assert site.leftovers() == []
