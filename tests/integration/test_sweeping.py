"""TXT records that could not be withdrawn: swept, or forgotten where there is nothing to sweep."""

from pathlib import Path

from tests.parts import Bind, Resolver
from tests.parts.site import Site, why_failed

HELD = """
case $CERTROTD_ACTION in
  present) [ ! -e {refuse} ];;
  withdraw) false;;
esac
"""


def test_a_record_the_zone_refused_is_not_left_to_sweep(
    acme_site: Site, zones: tuple[Bind, Resolver]
) -> None:
    """It was never there: once the mistake is mended, nothing is left to fail for ever."""
    site, bind = acme_site, zones[0]
    entry = site.certificate("web", "restricted.test")
    site.rotate()
    entry["names"] = ["restricted.test", "other.restricted.test"]
    assert "REFUSED" in why_failed(site.rotate(expect=1), "web")
    entry["names"] = ["restricted.test"]
    run = site.rotate("web")
    assert run.row("web")["decision"] == "wait", run.stdout
    assert site.status("web")["reason"].startswith("renewal at")
    assert bind.txt("_acme-challenge.restricted.test") == set()


def test_a_record_nobody_shows_is_forgotten_and_one_that_stays_says_how_to_drop_it(
    acme_site: Site, zones: tuple[Bind, Resolver], tmp_path: Path
) -> None:
    """A hook that cannot withdraw: what the DNS itself says decides."""
    site, bind = acme_site, zones[0]
    name = "_acme-challenge.restricted.test"
    site.certificate("web", "restricted.test")
    site.rotate()
    entry = site.config["certificates"][0]
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\n{HELD.format(refuse=tmp_path / 'refuse')}")
    hook.chmod(0o755)
    site.config["solvers"]["hook"] = {"type": "exec", "command": [str(hook)]}
    entry["solver"], entry["key"] = "hook", "ecdsa-p384"
    site.config["dns"]["propagation"]["timeout"] = "1s"
    assert "not on every authoritative server" in why_failed(site.rotate(expect=1), "web")
    del entry["key"]
    value = site.history("web")[-1]["facts"]["left"][0]["record"]["value"]

    bind.add_txt(name, value)
    said = why_failed(site.rotate("web", expect=1), "web")
    assert f"not withdrawn: 1 TXT record: {name}: " in said
    assert f"delete {value} at {name} by hand" in said
    bind.delete_txt(name)
    assert site.rotate("web").row("web")["result"] == "done"
    assert site.rotate("web").row("web")["decision"] == "wait"
