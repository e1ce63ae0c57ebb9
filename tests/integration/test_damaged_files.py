"""Files of the live generation are lost or damaged: what a user sees, and what becomes of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts import Parts
from tests.parts.site import Site, serves

HOST = "example.test"


@pytest.fixture
def kept(site: Site) -> Site:
    """A certificate that is there."""
    site.internal()
    site.certificate("web", HOST)
    site.rotate()
    return site


def flip(path: Path) -> None:
    """One bit, with size and time kept."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def contents(folder: Path) -> dict[str, bytes]:
    """The PEM files of a generation."""
    return {path.name: path.read_bytes() for path in folder.resolve().glob("*.pem")}


@pytest.mark.parametrize("file", ["combined", "cert", "chain", "privkey", "fullchain"])
@pytest.mark.parametrize("harm", [Path.unlink, flip])
def test_a_lost_or_damaged_file_is_shown_and_put_back_without_an_order(
    kept: Site, file: str, harm: Callable[[Path], None]
) -> None:
    """status, plan and watch say so; rotate puts it back, and all is well again."""
    before = contents(kept.live("web"))
    harm(kept.live("web") / f"{file}.pem")
    shown = kept.status("web")
    assert (shown["state"], shown["decision"]) == ("broken", "deploy")
    assert f"damaged: {file}.pem " in shown["reason"]
    watch = kept.run("watch", "--json")
    assert watch.code == 1
    assert [each["kind"] for each in watch.json[0]["findings"]] == ["damaged"]
    run = kept.rotate("web")
    assert "generation 1 is damaged" in run.stdout
    assert contents(kept.live("web")) == before
    assert kept.generations("web") == [1]
    assert kept.status("web")["state"] == "ok"
    assert kept.run("watch").code == 0


def test_a_link_to_a_generation_that_is_gone_costs_no_order(kept: Site) -> None:
    """The newest one that is there is deployed."""
    kept.rotate("web", "--force")
    link = kept.store / "web" / "live"
    link.unlink()
    link.symlink_to("generations/000009")
    run = kept.rotate("web")
    assert "generation 2 is deployed in its place" in run.stdout
    assert (kept.generation("web"), kept.generations("web")) == (2, [1, 2])
    assert kept.status("web")["state"] == "ok"


def test_while_the_ca_is_away_the_generation_before_takes_the_place_of_a_broken_one(
    parts: Parts, kept: Site
) -> None:
    """nginx is told and proven to serve it; when the CA is back, a new one is ordered."""
    nginx = kept.serve(parts, {HOST: "web"})
    kept.rotate("web", "--force")
    key = kept.state / "internal" / "ca"
    flip(kept.live("web") / "privkey.pem")
    (kept.live("web") / "combined.pem").unlink()
    away = key.with_name("away")
    key.rename(away)
    key.write_text("the CA is away")
    run = kept.run("rotate", "web")
    assert run.code == 1
    assert "generation 1 is deployed in its place" in run.stdout
    assert serves(nginx, HOST, kept.leaf("web", 1))
    shown = kept.status("web")
    assert "generation 1 is live in its place" in shown["reason"]
    assert shown["generation"] == 1
    key.unlink()
    away.rename(key)
    kept.rotate("web")
    assert serves(nginx, HOST, kept.leaf("web", 3))
    assert kept.status("web")["state"] == "ok"
