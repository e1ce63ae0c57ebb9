"""New virtual hosts in a real nginx, whose files are to come: placeholders stand in for them."""

from pathlib import Path

import pytest

from tests.integration.daemon import running
from tests.parts import Nginx, Parts, Pebble
from tests.parts.process import free_port, wait_until
from tests.parts.site import Site, exposed_keys, orders, probe, serves

OLD = "example.test"
NEW = {"one": "one.example.test", "two": "two.example.test", "three": "three.example.test"}


def away(site: Site) -> None:
    """The CA does not answer."""
    directory = f"https://127.0.0.1:{free_port()}/directory"
    site.config["issuers"]["ca"] = {
        "type": "acme",
        "directory": directory,
        "agree_to_terms": True,
        "timeout": "2s",
        "request_timeout": "2s",
    }
    site.config["solvers"]["dns"] = {"type": "rfc2136", "server": "127.0.0.1:1"}


def hosted(parts: Parts, site: Site, *, bootstrap: str | None) -> Nginx:
    """An nginx that serves one certificate; three more virtual hosts are in its configuration."""
    site.certificate("old", OLD)
    nginx = site.serve(parts, {OLD: "old"})
    site.rotate()
    for name, host in NEW.items():
        use = {"target": "nginx", "probe": [probe(nginx, host)]}
        site.certificate(name, host, bootstrap=bootstrap, targets=[use])
    nginx.host({OLD: site.files("old"), **{host: site.files(name) for name, host in NEW.items()}})
    return nginx


def test_three_new_virtual_hosts_are_served_after_one_run(
    parts: Parts, acme_site: Site, ca: Pebble
) -> None:
    """`nginx -t` passes from the beginning, so nothing fails and nothing is ordered in vain."""
    site, before = acme_site, orders(ca)
    nginx = hosted(parts, site, bootstrap="self-signed")
    assert nginx.check().returncode != 0
    spent = orders(ca) - before

    run = site.rotate()

    assert [row["result"] for row in run.json] == ["wait", "done", "done", "done"]
    for name, host in NEW.items():
        assert serves(nginx, host, site.leaf(name))
        assert site.status(name)["state"] == "ok"
        assert site.leaf(name).subject != site.leaf(name, 1).subject
    assert orders(ca) - before == spent + 3
    assert (site.leftovers(), exposed_keys(site.directory)) == ([], [])


def test_a_dry_run_knows_that_the_placeholders_come_first(parts: Parts, site: Site) -> None:
    """`nginx -t` fails now, and will not; without placeholders, the control, it would."""
    site.internal()
    hosted(parts, site, bootstrap="self-signed")
    site.config["certificates"][0]["key"] = "ecdsa-p384"  # a reason to renew
    for code in (0, 1):
        run = site.run("rotate", "--all", "--dry-run", "--json")
        assert run.code == code, run.stdout
        assert bool(run.row("old")["problems"]) == bool(code)
        for name in NEW:
            assert run.row(name)["decision"] == ("renew" if code else "placeholder")
            site.config["certificates"][[*NEW].index(name) + 1].pop("bootstrap", None)


@pytest.mark.parametrize("bootstrap", ["self-signed", None])
def test_new_virtual_hosts_do_not_stop_the_renewal_of_another(
    parts: Parts, site: Site, bootstrap: str | None
) -> None:
    """Named alone, too; without placeholders, which is the control, it fails."""
    site.internal()
    hosted(parts, site, bootstrap=bootstrap)
    run = site.rotate("old", "--force", expect=0 if bootstrap else 1)
    if bootstrap is None:
        assert "test failed" in run.row("old")["why"]
    assert site.generation("old") == (2 if bootstrap else 1)


def test_the_daemon_brings_three_new_virtual_hosts_without_a_failure(
    parts: Parts, site: Site
) -> None:
    """They are due at once, in whatever order."""
    site.internal()
    hosted(parts, site, bootstrap="self-signed")
    with running(site) as daemon:
        daemon.wait_for(*(f"{name}: done" for name in NEW))
        wait_until(lambda: all(site.status(name)["state"] == "ok" for name in NEW))
    for name in NEW:
        acts = [(line["failure"], line["facts"]["act"]) for line in site.history(name)]
        assert acts == [(None, "placeholder"), (None, "renew")]


def test_an_nginx_that_was_never_started_starts_while_the_ca_is_away(site: Site) -> None:
    """And nobody takes what it serves for a certificate: status, watch and the exit code say so."""
    away(site)
    copies = site.directory / "etc"
    copies.mkdir()
    chain, key = copies / "web.pem", copies / "web.key"
    entry = site.certificate("web", OLD, bootstrap="self-signed")
    entry["install"] = [{"fullchain": str(chain), "privkey": str(key)}]

    assert site.rotate(expect=1).row("web")["failed"]

    with Nginx(site.directory / "nginx", {OLD: site.files("web")}) as nginx:
        assert serves(nginx, OLD, site.leaf("web"))
    with Nginx(site.directory / "copies", {OLD: (chain, key)}) as nginx:
        assert serves(nginx, OLD, site.leaf("web"))
    seen = site.status("web")
    assert (seen["state"], seen["not_after"], seen["fingerprint"]) == ("placeholder", None, None)
    watched = site.run("watch", "web", "--json")
    assert watched.code == 1
    [files] = watched.json
    assert [each["kind"] for each in files["findings"]] == ["placeholder"]
    site.internal()
    site.rotate()
    assert site.generation("web") == 2
    assert chain.read_bytes() == site.files("web")[0].read_bytes()


def test_files_that_stand_at_the_paths_of_the_copies_are_not_replaced_by_a_placeholder(
    site: Site, tmp_path: Path
) -> None:
    """Somebody's pair serves until there is a better one."""
    away(site)
    chain = tmp_path / "theirs.pem"
    chain.write_text("somebody's")
    entry = site.certificate("web", OLD, bootstrap="self-signed")
    entry["install"] = [{"fullchain": str(chain), "privkey": str(tmp_path / "theirs.key")}]
    site.rotate(expect=1)
    assert (site.generation("web"), chain.read_text()) == (1, "somebody's")
