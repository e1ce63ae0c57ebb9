"""Several CAs for one certificate: Pebble first, step-ca where that does not issue."""

from __future__ import annotations

import pytest

from tests.integration.daemon import reload, running
from tests.parts import Bind, Parts, Pebble, Resolver, StepCA, locate
from tests.parts.process import wait_until
from tests.parts.site import Site, orders, serves, why_failed

pytestmark = pytest.mark.integration
APEX = "example.test"


@pytest.fixture
def two(site: Site, parts: Parts, zones: tuple[Bind, Resolver]) -> tuple[Site, Pebble, StepCA]:
    """A site with both; an answer that does not come is waited for as short as may be."""
    bind, resolver = zones
    locate.require("step-ca")
    first = parts.start(Pebble, dns=bind.server, retry_after=0)
    second = parts.start(StepCA, resolver=bind.server, duration="12h")
    site.acme(first, "first", timeout="20s", request_timeout="5s")
    site.acme(second, "second")
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port)
    site.config["defaults"] = {"issuer": ["first", "second"]}
    return site, first, second


def test_the_second_ca_issues_while_the_first_is_away(
    two: tuple[Site, Pebble, StepCA], parts: Parts
) -> None:
    """It is seen everywhere, nothing is issued again because of it, and the first is asked next."""
    site, first, _ = two
    site.certificate("web", APEX)
    nginx = site.serve(parts, {APEX: "web"})
    assert site.status("web")["issued_by"] == "first"

    first.stop()
    run = site.rotate("web", "--force")
    assert run.row("web")["result"] == "done"
    assert "second is asked instead of first" in run.stderr
    assert serves(nginx, APEX, site.leaf("web"))
    seen = site.status("web")
    assert seen["issued_by"] == "second"
    assert seen["issued_instead"].startswith("issued by second, not by first: first: ")
    assert "not by first" in site.run("status").stdout
    assert "first is asked first, of first, second" in site.run("plan", "--explain", "web").stdout
    assert site.rotate().row("web")["result"] == "wait", "it is not issued again for that"
    *_, failed, done = site.history("web")
    assert (failed["outcome"], done["outcome"]) == ("nothing was changed", "finished")
    assert "second is asked: first: " in done["why"]
    audited = site.run("audit", "show", "--json", "web").stdout
    assert '"instead"' in audited

    first.start()
    assert site.rotate("web", "--force").row("web")["result"] == "done"
    seen = site.status("web")
    assert (seen["issued_by"], seen["issued_instead"]) == ("first", None)
    assert serves(nginx, APEX, site.leaf("web"))
    assert site.rotate().row("web")["result"] == "wait"


def test_a_name_that_the_first_ca_refuses_comes_from_the_second(
    two: tuple[Site, Pebble, StepCA], parts: Parts, zones: tuple[Bind, Resolver]
) -> None:
    """In the words of the first; a proof that fails is not tried elsewhere."""
    site, _, _ = two
    strict = parts.start(Pebble, dns=zones[0].server, retry_after=0, blocked=[APEX])
    site.acme(strict, "first")
    site.certificate("web", APEX)
    assert site.rotate("web").row("web")["result"] == "done"
    assert "rejectedIdentifier" in site.status("web")["issued_instead"]

    site.certificate("lost", "www.nowhere.test", solver="dns")
    before = orders(strict)
    why = why_failed(site.rotate("lost", expect=1), "lost")
    assert orders(strict) - before <= 1
    assert "second" not in why
    assert len(site.history("lost")) == 1


def test_the_daemon_turns_to_the_second_ca_where_the_budget_of_the_first_is_used_up(
    two: tuple[Site, Pebble, StepCA],
) -> None:
    """Each account has limits of its own; nobody waits for one while nothing is served."""
    site, first, _ = two
    site.config["issuers"]["first"]["budget"] = {"orders": 1, "per": "6h"}
    site.config["issuers"]["second"]["budget"] = {"orders": 1, "per": "6h"}
    site.certificate("web", APEX)
    site.rotate()
    site.certificate("www", f"www.{APEX}")
    with running(site) as daemon:
        daemon.wait_for("www: done")
        seen = site.status("www")
        assert seen["issued_by"] == "second"
        assert "first takes no order before" in seen["issued_instead"]
        assert site.status("web")["issued_by"] == "first"
        site.certificate("third", f"third.{APEX}")
        reload(site, daemon)
        daemon.wait_for("reloaded: 3 certificates")
        wait_until(lambda: "limit is used up" in site.status("third")["reason"])
    assert orders(first) == 1


def test_the_second_ca_s_own_limit_holds_while_the_first_has_orders_open(
    two: tuple[Site, Pebble, StepCA], parts: Parts, zones: tuple[Bind, Resolver]
) -> None:
    """Room there is for one of two certificates that the first CA does not finish in time."""
    site, _, _ = two
    slow = parts.start(Pebble, dns=zones[0].server, retry_after=0, validates_within=10**6)
    site.acme(slow, "first", timeout="4s", request_timeout="4s", budget={"orders": 9, "per": "6h"})
    site.config["issuers"]["second"]["budget"] = {"orders": 1, "per": "6h"}
    site.config["concurrency"] = 1
    site.certificate("web", APEX)
    site.certificate("www", f"www.{APEX}")
    with running(site) as daemon:
        daemon.wait_for("second is not asked: its limit is used up")
        wait_until(lambda: len(by_second(site)) == 1)
        (there,) = by_second(site)
        (missing,) = {"web", "www"} - {there}
        wait_until(lambda: site.status(missing)["failures"] == 1)
    assert by_second(site) == {there}
    assert "did not decide in time" in site.status(missing)["last_failure"]
    assert orders(slow) == 2
    for name in (APEX, f"www.{APEX}"):
        assert zones[0].txt(f"_acme-challenge.{name}") == set()


def by_second(site: Site) -> set[str]:
    """The certificates that the second CA has issued."""
    return {name for name in ("web", "www") if site.status(name)["issued_by"] == "second"}
