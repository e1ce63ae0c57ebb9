"""``certrotd import`` on what certbot and lego themselves made: nothing is ordered again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts import Bind, Nginx, Parts, Pebble, Resolver, peers
from tests.parts.site import Run, Site, matching, orders, serves, snapshot
from tests.unit.importing import trees

NAME, WILDCARD = "example.test", "*.example.test"
Made = tuple[list[str], Path, Path]
Make = Callable[[Path, Pebble, Bind, str], Made]


def by_certbot(folder: Path, ca: Pebble, bind: Bind, hook: str) -> Made:
    """What to import, and the files that services read; certbot has a deploy hook."""
    tree = peers.certbot(folder, ca, bind, NAME, WILDCARD, more=["--deploy-hook", hook])
    live = tree / "live" / NAME
    return ["certbot", str(tree)], live / "fullchain.pem", live / "privkey.pem"


def by_lego(folder: Path, ca: Pebble, bind: Bind, _hook: str) -> Made:
    """The same of lego, which keeps neither its DNS provider nor its hook."""
    tree, variables = peers.lego(folder, ca, bind, NAME, WILDCARD)
    told = ["--dns", "rfc2136", "--env-file", str(variables), "--server", ca.directory_url]
    files = tree / "certificates"
    return ["lego", str(tree), *told], files / f"{NAME}.crt", files / f"{NAME}.key"


def by_the_source_of_acme_sh(folder: Path, ca: Pebble, bind: Bind, hook: str) -> Made:
    """A home as acme.sh's published source lays it out; no package has acme.sh itself.

    The certificate and the account are real ones of the CA's.
    """
    tree, variables = peers.lego(folder, ca, bind, NAME, WILDCARD)
    home, at = folder / "acme.sh", ca.directory_url.removeprefix("https://").partition("/")
    of, read = home / f"{NAME}_ecc", folder / "ssl"
    account = home / "ca" / at[0].partition(":")[0] / at[2]
    for each in (of, read, account):
        each.mkdir(parents=True)
    [key] = tree.glob("accounts/*/*/keys/*.key")
    made = tree / "certificates" / NAME
    shutil.copy(key, account / "account.key")
    for file, ending in (
        (f"{NAME}.key", "key"),
        ("fullchain.cer", "crt"),
        ("ca.cer", "issuer.crt"),
    ):
        shutil.copy(f"{made}.{ending}", of / file)
    for file, ending in (("web.key", "key"), ("web.pem", "crt")):
        shutil.copy(f"{made}.{ending}", read / file)
    host, _, port = bind.server.rpartition(":")
    tsig = variables.with_name("tsig.key")
    tsig.touch(mode=0o600)
    tsig.write_text(
        f'key "{bind.key.name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{bind.key.secret}";\n}};\n'
    )
    saved = {"KEY": str(tsig), "SERVER": host, "SERVER_PORT": port}
    (home / "account.conf").write_text(
        trees.assignments({f"SAVED_NSUPDATE_{key}": value for key, value in saved.items()})
    )
    told = {"Le_Domain": NAME, "Le_Alt": WILDCARD, "Le_Webroot": "dns_nsupdate"}
    told |= {"Le_API": ca.directory_url, "Le_ReloadCmd": trees.encoded(hook)}
    told |= {"Le_RealKeyPath": str(read / "web.key"), "Le_RealFullChainPath": str(read / "web.pem")}
    (of / f"{NAME}.conf").write_text(trees.assignments(told))
    return ["acme.sh", str(home)], read / "web.pem", read / "web.key"


def accounts(ca: Pebble) -> int:
    """How many accounts the CA has made."""
    return ca.log_file.read_text(errors="replace").count(" accounts in memory")


class Moved(Site):
    """A site whose configuration is what the import has written, and a drop-in of the test's."""

    def bring(self, ca: Pebble, *arguments: str) -> Run:
        """Runs ``certrotd import``."""
        told = ("--state-dir", str(self.state), "--ca-bundle", str(ca.ca_file))
        return self.run("import", *arguments, *told)

    def write(self) -> None:
        """What is written is the import's own."""

    def add(self, **sections: Any) -> None:
        """Adds what no other client knows of."""
        folder = self.directory / "conf.d"
        folder.mkdir(exist_ok=True)
        (folder / "test.yaml").write_text(yaml.safe_dump(sections))


@pytest.mark.parametrize("make", [by_certbot, by_lego, by_the_source_of_acme_sh])
def test_an_installation_moves_in_and_nothing_is_ordered_for_it(
    parts: Parts,
    acme_site: Site,
    zones: tuple[Bind, Resolver],
    ca: Pebble,
    tmp_path: Path,
    make: Make,
) -> None:
    """nginx keeps serving by its old paths, and the next renewal is certrotd's, on the account."""
    told = tmp_path / "told"
    nginx_pid = tmp_path / "nginx.pid"
    given = '"$RENEWED_DOMAINS$Le_Domain"'
    hook = f"kill -HUP $(cat {nginx_pid}) 2>/dev/null; echo {given} >> {told}; true"
    arguments, chain, key = make(tmp_path, ca, zones[0], hook)
    told.unlink(missing_ok=True)
    old, spent, known = matching(key, chain), orders(ca), accounts(ca)
    nginx = parts.start(Nginx, {NAME: (chain, key)})
    nginx_pid.write_text(str(nginx.pid))
    site = Moved(tmp_path / "certrotd")
    everything = snapshot(tmp_path)

    shown = site.bring(ca, *arguments)

    assert (shown.code, snapshot(tmp_path)) == (0, everything), shown.stderr
    assert "taken over" in shown.stdout
    assert zones[0].key.secret not in shown.stdout + shown.stderr

    written = site.bring(ca, *arguments, "--write", str(site.directory), "--json")

    assert written.code == 0, written.stderr
    [planned] = written.json["certificates"]
    assert (planned["name"], planned["why"]) == (NAME, "")
    text = site.path.read_text()
    assert zones[0].key.secret not in text + written.stdout
    [secret] = (site.directory / "secrets").iterdir()
    assert (secret.stat().st_mode & 0o777, secret.read_text().strip()) == (
        0o600,
        zones[0].key.secret,
    )
    assert site.run("config", "check").code == 0

    site.add(dns=acme_site.config["dns"])
    assert site.rotate().row(NAME)["result"] == "done"
    assert (site.generations(NAME), site.leaf(NAME), orders(ca)) == ([1], old, spent)
    assert (matching(key, chain), serves(nginx, NAME, old)) == (old, True)

    assert site.rotate("--force").row(NAME)["result"] == "done"
    renewed = site.leaf(NAME)
    assert renewed != old
    assert (matching(key, chain), orders(ca), accounts(ca)) == (renewed, spent + 1, known)
    if arguments[0] == "lego":
        nginx.reload()  # lego keeps no hook to take over
    else:
        expected = f"{NAME} {WILDCARD}" if arguments[0] == "certbot" else NAME
        assert told.read_text().splitlines()[-1] == expected
    assert serves(nginx, NAME, renewed)
    if arguments[0] == "certbot":  # its timer still runs
        assert "symlink" in peers.certbot_renew(tmp_path)
        assert (matching(key, chain), orders(ca)) == (renewed, spent + 1)
