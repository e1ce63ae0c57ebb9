"""Certificates that share a service: it is never told to read a pair that is half replaced."""

import pytest

from tests.parts import Nginx, Parts, locate
from tests.parts.process import wait_until
from tests.parts.site import Site, probe

READS = """live={live}
chain=$(openssl x509 -in $live/fullchain.pem -noout -pubkey)
touch {begun}
sleep 2
key=$(openssl pkey -in $live/privkey.pem -pubout)
[ "$chain" = "$key" ] || {{ echo "key values mismatch"; exit 1; }}"""


@pytest.mark.parametrize("installs", [False, True])
def test_a_reload_for_one_certificate_finds_complete_pairs_of_the_others(
    site: Site, installs: bool
) -> None:
    """It reads all of them at every reload, a chain and a key one after the other."""
    locate.require("openssl")
    site.internal()
    copies = site.directory / "copies"
    copies.mkdir()
    for name in ("one", "two"):
        entry = site.certificate(name, f"{name}.example.test", targets=["web"])
        if installs:
            files = {part: str(copies / f"{name}-{part}.pem") for part in ("fullchain", "privkey")}
            entry["install"] = [files]
    site.command("web", "true")
    site.rotate()
    begun = site.directory / "begun"
    live = site.store / "two" / "live"
    if installs:
        for part in ("fullchain", "privkey"):
            (copies / f"{part}.pem").symlink_to(copies / f"two-{part}.pem")
        live = copies
    site.command("web", READS.format(live=live, begun=begun))
    first = site.start("rotate", "one", "--force")
    wait_until(begun.exists)
    site.rotate("two", "--force")
    ended = first.end()
    assert ended.code == 0, ended.stdout
    assert [site.generation(name) for name in ("one", "two")] == [2, 2]


@pytest.mark.parametrize("broken", [False, True])
def test_twenty_certificates_renewed_together_make_few_reloads_and_each_is_proven(
    parts: Parts, site: Site, broken: bool
) -> None:
    """Each reload leaves old workers behind; one that fails is undone for each of them."""
    site.internal()
    site.config["concurrency"] = 20
    names = [f"c{number}" for number in range(20)]
    for name in names:
        site.certificate(name, f"{name}.example.test")
    site.rotate()
    files = {f"{name}.example.test": site.files(name) for name in names}
    nginx: Nginx = parts.start(Nginx, files)
    reloads = site.directory / "reloads"
    script = site.directory / "reload.sh"
    fails = "exit 1" if broken else f"kill -HUP $(cat {nginx.pid_file})"
    script.write_text(f"#!/bin/sh\necho reload >> {reloads}\n{fails}\n")
    script.chmod(0o755)
    site.nginx(nginx, reload=[str(script)], deadline="20s")
    for entry in site.config["certificates"]:
        endpoint = probe(nginx, f"{entry['name']}.example.test", "20s")
        entry["targets"] = [{"target": "nginx", "probe": [endpoint]}]

    run = site.rotate("--force", expect=1 if broken else 0)

    told = reloads.read_text().count("reload")
    assert {site.generation(name) for name in names} == {1 if broken else 2}
    if broken:
        assert {run.row(name)["result"] for name in names} != {"done"}
        assert told <= 12
    else:
        proven = [row["targets"][0]["proven"] for row in site.run("status", "--json").json]
        assert all(proven)
        assert told <= 5


def test_a_program_gets_the_certificate_in_its_environment(site: Site) -> None:
    """One script for all of them finds each one's files, and on the way back the old ones."""
    locate.require("openssl")
    site.internal()
    noted = site.directory / "noted"
    for name in ("one", "two"):
        site.certificate(name, f"{name}.example.test", targets=["hook"])
    site.command(
        "hook",
        "print=$(openssl x509 -in $CERTROTD_LIVE/fullchain.pem -noout -fingerprint -sha256)\n"
        'print=$(echo "${print#*=}" | tr -d : | tr A-F a-f)\n'
        '[ "$print" = "$CERTROTD_FINGERPRINT" ]\n'
        f'echo "$CERTROTD_CERTIFICATE $CERTROTD_NAMES" >> {noted}',
    )
    site.rotate()
    assert sorted(noted.read_text().splitlines()) == [
        "one one.example.test",
        "two two.example.test",
    ]
