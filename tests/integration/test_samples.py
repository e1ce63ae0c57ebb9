"""The programs that the documentation offers for the exec solver."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.parts import Bind, Pebble, Resolver, locate
from tests.parts.site import Site, orders

PAGE = Path(__file__).parents[2] / "docs" / "exec-samples.md"
SAMPLES = dict(re.findall(r"^```sh (\S+)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
APEX, WILDCARD = "example.test", "*.example.test"


@pytest.fixture
def hook(site: Site, zones: tuple[Bind, Resolver], ca: Pebble) -> Path:
    """The sample with nsupdate, as the solver of a site."""
    locate.require("nsupdate")
    bind, resolver = zones
    key = site.directory / "tsig.key"
    key.touch(mode=0o600)
    key.write_text(
        f'key "{bind.key.name}" {{ algorithm hmac-sha256; secret "{bind.key.secret}"; }};\n'
    )
    path = site.directory / "dns-hook"
    path.write_text(SAMPLES["nsupdate"])
    path.chmod(0o755)
    host, _, port = bind.server.rpartition(":")
    about = {"TSIG_KEY": str(key), "DNS_SERVER": host, "DNS_PORT": port}
    site.config["solvers"]["hook"] = {"type": "exec", "command": [str(path)], "environment": about}
    site.acme(ca)
    site.dns(resolver, port=bind.port)
    return path


def test_the_sample_with_nsupdate_proves_an_apex_and_its_wildcard(
    hook: Path, site: Site, zones: tuple[Bind, Resolver], ca: Pebble
) -> None:
    """Two values at one name, and nothing left afterwards."""
    before = orders(ca)
    site.certificate("web", APEX, WILDCARD)
    site.rotate()
    assert (site.generation("web"), orders(ca)) == (1, before + 1)
    assert zones[0].txt(f"_acme-challenge.{APEX}") == set()


@pytest.mark.parametrize("action", ["present", "withdraw"])
def test_the_sample_with_nsupdate_may_be_run_twice_and_leaves_other_values(
    hook: Path, site: Site, zones: tuple[Bind, Resolver], action: str
) -> None:
    """As the page asks of all of them."""
    name, bind = f"_acme-challenge.{APEX}", zones[0]
    about = site.config["solvers"]["hook"]["environment"]

    def run(action: str, value: str) -> None:
        told = {"ACTION": action, "FQDN": name, "VALUE": value}
        variables = {f"CERTROTD_{key}": text for key, text in told.items()}
        path = f"{locate.require('nsupdate').parent}:/usr/bin:/bin"
        subprocess.run([hook], env={"PATH": path, **about, **variables}, check=True)

    run("present", "another")
    for _ in range(2):
        run(action, "this")
    try:
        assert bind.txt(name) == ({"another", "this"} if action == "present" else {"another"})
    finally:
        bind.delete_txt(name)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_is_a_program_of_the_shell(sample: str) -> None:
    """And says what it does not know, instead of taking it for one of the two acts."""
    text = SAMPLES[sample]
    assert text.startswith("#!/bin/sh\nset -eu\n")
    assert all(word in text for word in ("present)", "withdraw)", "*) exit 64 ;;"))
    parsed = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (parsed.returncode, parsed.stderr) == (0, "")


def test_the_page_has_samples() -> None:
    """A page that is written otherwise would leave nothing to try."""
    assert set(SAMPLES) == {"nsupdate", "lexicon", "cloudflare", "certbot"}
