"""A CA that says when to renew (RFC 9773), and of which profile: with Pebble, which does both."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.parts import Pebble
from tests.parts.site import Site, orders

pytestmark = pytest.mark.integration
APEX, DAY = "example.test", timedelta(days=1)
PAGE = "https://ca.example.test/incident"


def window(start: datetime, end: datetime) -> str:
    moments = {"start": start.isoformat(), "end": end.isoformat()}
    return json.dumps({"suggestedWindow": moments, "explanationURL": PAGE})


def test_a_window_that_the_ca_pulls_forward_has_it_renewed(acme_site: Site, ca: Pebble) -> None:
    """And the order says what it replaces; where that is refused, it goes without."""
    site, before = acme_site, orders(ca)
    site.certificate("web", APEX)
    site.config["issuers"]["ca"]["profile"] = "default"
    site.rotate()
    now = datetime.now(UTC)
    [planned] = site.run("status", "--json").json
    assert planned["state"] == "ok"
    assert "the CA suggests" in planned["reason"]
    assert "pulled_forward" in site.run("plan", "--explain", "web").stdout

    ca.set_renewal_info(site.leaf("web"), window(now - 2 * DAY, now - DAY))
    assert site.rotate().row("web")["result"] == "wait", "it does not ask before its time"
    renewed = site.rotate("web").row("web")
    assert renewed["result"] == "done"
    assert "the CA wants it renewed early" in renewed["why"]
    assert PAGE in renewed["why"]
    assert (site.generation("web"), orders(ca)) == (2, before + 2)

    ca.set_renewal_info(site.leaf("web"), "<html>")
    assert site.rotate("web").row("web")["result"] == "wait"
    assert orders(ca) == before + 2

    assert site.run("rollback", "web", "--to", "1").code == 0
    again = site.rotate("web", "--force")  # what generation 1 was replaced by is there already
    assert again.row("web")["result"] == "done"
    assert "ordered without" in again.stderr
    assert orders(ca) == before + 3


def test_a_profile_is_ordered(acme_site: Site, ca: Pebble) -> None:
    """Six days are renewed by a clock of their own; a profile that is not offered is no more."""
    site = acme_site
    site.certificate("web", APEX)
    site.config["issuers"]["ca"]["profile"] = "shortlived"
    site.rotate()
    leaf = site.leaf("web")
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= 6 * DAY
    [planned] = site.run("status", "--json").json
    assert datetime.fromisoformat(planned["next_check"]) < datetime.now(UTC) + DAY
    site.config["issuers"]["ca"] |= {"profile": "tlsclient", "require_profile": True}
    refused = site.run("rotate", "web", "--force")
    assert refused.code == 1
    assert "has no profile tlsclient: it offers default, shortlived" in (
        refused.stdout + refused.stderr
    )
