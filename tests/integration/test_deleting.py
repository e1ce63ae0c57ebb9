"""Certificates that nobody needs any more: `certrotd delete`, and certbot's name of `status`."""

from __future__ import annotations

import pytest

from tests.parts import Parts, Pebble
from tests.parts.site import Site

pytestmark = pytest.mark.integration
HOST, OTHER = "www.example.test", "other.example.test"


def test_a_certificate_is_deleted_once_nothing_uses_it(site: Site, parts: Parts) -> None:
    """Neither the configuration nor a service; its copies, its history and the log stay."""
    site.internal()
    site.certificate("kept", OTHER)
    copy = site.directory / "copy.pem"
    site.certificate("web", HOST, install=[{"fullchain": str(copy)}])
    site.serve(parts, {HOST: "web", OTHER: "kept"})
    site.rotate()
    listed = site.run("certificates", "--json")
    assert listed.json == site.run("status", "--json").json

    configured = site.run("delete", "web", "--confirm", "web")
    assert (configured.code, "certrotd would make it anew" in configured.stderr) == (2, True)
    [web] = [each for each in site.config["certificates"] if each["name"] == "web"]
    web["enabled"] = False
    used = site.run("delete", "web", "--confirm", "web")
    assert used.code == 1
    assert "serves it" in used.stderr
    assert "the configuration of target nginx names" in used.stderr
    site.config["certificates"].remove(web)
    used = site.run("delete", "web", "--confirm", "web")
    assert "the configuration of target nginx names" in used.stderr

    site.config["targets"].clear()
    for entry in site.config["certificates"]:
        entry.pop("targets", None)
    site.config["certificates"].append({**web, "targets": []})
    unsure = site.run("delete", "web")
    assert unsure.code == 2
    assert "goes: generations 1, with their keys" in unsure.stderr
    assert f"stays: the copy {copy}" in unsure.stderr
    site.config["certificates"].pop()
    assert (site.store / "web").is_dir()
    done = site.run("delete", "web", "--confirm", "web")
    assert done.code == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[1].split(maxsplit=2) == ["web", "done", "deleted by hand"]
    assert not (site.store / "web").exists()
    assert copy.exists()
    assert site.generation("kept") == 1
    assert '"act": "delete"' in site.run("audit", "show", "--json", "-n", "50").stdout
    again = site.run("delete", "web", "--confirm", "web")
    assert (again.code, "nothing is kept" in again.stderr) == (1, True)
    assert site.run("delete", "../web", "--confirm", "../web").code == 1
    foreign = site.store / "lost+found"
    foreign.mkdir()
    assert site.run("delete", foreign.name, "--confirm", foreign.name).code == 1
    assert foreign.exists(), "of no certificate"

    site.certificate("web", HOST)
    site.rotate()
    assert (site.generation("web"), site.status("web")["state"]) == (1, "ok")


def test_it_can_be_revoked_before(acme_site: Site, ca: Pebble) -> None:
    """By its CA, if that is configured; what is revoked already is deleted."""
    site = acme_site
    site.certificate("web", HOST)
    site.certificate("cut", OTHER)
    site.rotate()
    site.config["certificates"][-1]["enabled"] = False
    cut = site.run("revoke", "cut", "--now", "--confirm", "cut")  # as far as one that was cut off
    assert cut.code == 0, cut.stdout + cut.stderr
    serial = site.leaf("web").serial_number
    site.config["certificates"].clear()
    again = site.run("delete", "cut", "--revoke", "--confirm", "cut")
    assert again.code == 0, again.stdout + again.stderr
    assert not (site.store / "cut").exists()
    asked = site.run("delete", "web", "--revoke")
    assert asked.code == 2
    told = "goes: revoked: cessationOfOperation; ca is asked, the CA that issued it"
    assert told in asked.stderr
    done = site.run("delete", "web", "--revoke", "--confirm", "web")
    assert done.code == 0, done.stdout + done.stderr
    assert ca.certificate_status(serial) == "Revoked"
    assert not (site.store / "web").exists()
