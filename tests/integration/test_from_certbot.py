"""What certbot obtained is taken over as docs/moving-in.md says: nothing is ordered for it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts import Bind, Nginx, Parts, Pebble, Resolver, peers
from tests.parts.site import Site, matching, orders, probe, serves, snapshot

NAME, WILDCARD = "example.test", "*.example.test"
FILES = ("privkey", "cert", "chain", "fullchain")
Make = Callable[[Path, Pebble, Bind, Site], None]


def by_certbot(folder: Path, ca: Pebble, bind: Bind, _site: Site) -> None:
    """A lineage that certbot itself has made."""
    peers.certbot(folder, ca, bind, NAME, WILDCARD)


def by_hand(folder: Path, _ca: Pebble, _bind: Bind, site: Site) -> None:
    """The same, laid out as certbot does, around a certificate of the CA."""
    other = Site(folder / "obtained")
    other.config |= {key: site.config[key] for key in ("issuers", "solvers", "dns")}
    other.certificate("web", NAME, WILDCARD)
    other.rotate()
    live, archive = (folder / "letsencrypt" / each / NAME for each in ("live", "archive"))
    for each in (live, archive):
        each.mkdir(parents=True)
    for shape in FILES:
        kept = archive / f"{shape}1.pem"
        kept.touch(mode=0o600 if shape == "privkey" else 0o644)
        kept.write_bytes((other.live("web") / f"{shape}.pem").read_bytes())
        (live / f"{shape}.pem").symlink_to(f"../../archive/{NAME}/{shape}1.pem")
    shutil.rmtree(other.directory)


@pytest.mark.parametrize("make", [by_hand, by_certbot])
def test_a_lineage_is_taken_over_and_nothing_is_ordered(
    parts: Parts,
    acme_site: Site,
    zones: tuple[Bind, Resolver],
    ca: Pebble,
    tmp_path: Path,
    make: Make,
) -> None:
    """Same key and certificate, certbot's files untouched, proven at once; then a renewal."""
    site = acme_site
    make(tmp_path, ca, zones[0], site)
    letsencrypt = tmp_path / "letsencrypt"
    live, before, spent = letsencrypt / "live" / NAME, snapshot(letsencrypt), orders(ca)
    old = matching(live / "privkey.pem", live / "fullchain.pem")
    nginx = parts.start(Nginx, {NAME: (live / "fullchain.pem", live / "privkey.pem")})
    entry = site.certificate("web", NAME, WILDCARD)
    entry["adopt"] = {shape: str(live / f"{shape}.pem") for shape in ("privkey", "fullchain")}

    assert site.rotate().row("web")["result"] == "done"

    assert (site.generations("web"), site.leaf("web")) == ([1], old)
    for shape in FILES:
        kept = (site.live("web") / f"{shape}.pem").read_bytes()
        assert kept.strip() == (live / f"{shape}.pem").read_bytes().strip()

    nginx.host({NAME: site.files("web")})
    site.nginx(nginx)
    entry["targets"] = [{"target": "nginx", "probe": [probe(nginx, NAME)]}]
    assert site.rotate().row("web")["result"] == "done"
    assert (site.status("web")["state"], serves(nginx, NAME, old)) == ("ok", True)
    assert (orders(ca), snapshot(letsencrypt)) == (spent, before)

    site.rotate("--force")
    assert serves(nginx, NAME, site.leaf("web"))
    assert site.leaf("web") != old
    assert (orders(ca), snapshot(letsencrypt)) == (spent + 1, before)


def test_copies_may_take_the_place_of_the_lineage_s_links(
    acme_site: Site, zones: tuple[Bind, Resolver], ca: Pebble, tmp_path: Path
) -> None:
    """For services whose configuration is to stay: what the links led to is not written into."""
    site = acme_site
    by_hand(tmp_path, ca, zones[0], site)
    letsencrypt = tmp_path / "letsencrypt"
    live = letsencrypt / "live" / NAME
    archived = snapshot(letsencrypt / "archive")
    entry = site.certificate("web", NAME, WILDCARD)
    entry["adopt"] = {shape: str(live / f"{shape}.pem") for shape in ("privkey", "fullchain")}
    entry["install"] = [{**{shape: str(live / f"{shape}.pem") for shape in FILES}, "mode": "0600"}]
    spent = orders(ca)
    site.rotate()
    assert orders(ca) == spent
    site.rotate("--force")
    assert matching(live / "privkey.pem", live / "fullchain.pem") == site.leaf("web")
    assert not (live / "privkey.pem").is_symlink()
    assert snapshot(letsencrypt / "archive") == archived


def test_a_key_of_another_type_is_renewed_at_once(
    acme_site: Site, zones: tuple[Bind, Resolver], ca: Pebble, tmp_path: Path
) -> None:
    """The control, and what the page warns of: it is not what the configuration asks for."""
    site = acme_site
    by_hand(tmp_path, ca, zones[0], site)
    live = tmp_path / "letsencrypt" / "live" / NAME
    entry = site.certificate("web", NAME, WILDCARD, key="rsa-2048")
    entry["adopt"] = {shape: str(live / f"{shape}.pem") for shape in ("privkey", "fullchain")}
    spent = orders(ca)
    assert "the configuration asks for rsa-2048" in site.rotate().row("web")["reason"]
    assert (site.generations("web"), orders(ca)) == ([1, 2], spent + 1)
