"""CAs as no real one is, at the shell: what is said of them, and how soon it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import Bind, Parts, Pebble, Resolver
from tests.parts.process import wait_until
from tests.parts.site import Site, why_failed
from tests.unit.acme.scripted import NAME, Reply, ScriptedCA


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[ScriptedCA]:
    """A CA that behaves, except where a test scripts it not to."""
    with ScriptedCA(tmp_path / "ca") as ca:
        yield ca


@pytest.fixture
def its(site: Site, odd: ScriptedCA) -> Site:
    """One certificate of that CA."""
    site.config["issuers"]["odd"] = {
        "type": "acme",
        "directory": odd.url,
        "ca_bundle": str(odd.ca_file),
        "timeout": "5m",
        "request_timeout": "90s",
    }
    site.config["solvers"]["nothing"] = {"type": "exec", "command": ["/bin/true"]}
    site.config["dns"] = {"propagation": {"skip": True}}
    site.certificate("web", NAME, solver="nothing")
    return site


def test_a_stop_ends_in_seconds_though_the_ca_drips(its: Site, odd: ScriptedCA) -> None:
    """It took 90 seconds; systemd kills after as many, and the next start has to clean up."""
    odd.on("/orders", Reply(201, b"x" * 5000, drip=0.1))
    started = its.start("rotate", "--all")
    wait_until(lambda: odd.asked("/orders") == 1)
    began = time.monotonic()
    started.signal()
    run = started.end()
    assert time.monotonic() - began < 20
    assert "the process was told to stop" in run.stdout
    assert odd.asked("/orders") == 1


@pytest.mark.parametrize("wait", ["0", "-1", "0.5", "Mon, 01 Jan 2001 00:00:00 GMT"])
def test_a_ca_that_asks_for_no_wait_at_all_is_called_busy(
    its: Site, odd: ScriptedCA, wait: str
) -> None:
    """It ended in "Object of type timedelta is not JSON serializable", with nothing in history."""
    odd.on("/orders", *[Reply(503, b"", {"Retry-After": wait})] * 9)
    run = its.rotate(expect=1)
    assert "HTTP status 503" in why_failed(run, "web")
    [line] = its.history("web")
    assert "HTTP status 503" in line["failure"]
    assert not its.status("web")["in_flight"]


def test_a_url_elsewhere_is_reported_with_what_would_allow_it(its: Site, odd: ScriptedCA) -> None:
    """Where it is right, a person says so."""
    named = {**odd._directory(), "newOrder": "https://169.254.169.254/latest/meta-data/"}
    odd.on("/directory", Reply(body=named))
    why = why_failed(its.rotate(expect=1), "web")
    assert "names https://169.254.169.254/latest/meta-data/" in why
    assert "list 169.254.169.254 in also_hosts of the issuer" in why


def test_a_preferred_chain_that_is_not_offered_is_reported_with_those_that_are(
    acme_site: Site, zones: tuple[Bind, Resolver], parts: Parts
) -> None:
    """In the report, in status and in watch; before, it was said nowhere."""
    site, bind = acme_site, zones[0]
    pebble = parts.start(Pebble, dns=bind.server, alternate_roots=1, retry_after=0)
    site.acme(pebble, preferred_chain="DST Root CA X3")
    site.certificate("web", "www.example.test", issuer="ca")
    run = site.rotate()
    said = "the preferred chain 'DST Root CA X3' is not offered, but: Pebble Root CA"
    assert said in run.row("web")["why"]
    assert site.status("web")["remark"].startswith(said)
    assert said in site.run("status", "web").stdout
    watched = site.run("watch", "web")
    assert watched.code == 1
    assert said in watched.stdout

    [_, other] = site.status("web")["remark"].partition("but: ")[2].split(", ")
    site.config["issuers"]["ca"]["preferred_chain"] = other
    assert site.run("watch", "web").code == 0
    site.rotate("--force")
    assert site.status("web")["remark"] is None
