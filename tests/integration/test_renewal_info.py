"""A CA that says when to renew (RFC 9773), and of which profile: with Pebble, which does both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from josepy.b64 import b64decode

from certrotd.pki.facts import facts_of
from certrotd.pki.renewal import renewal_id
from tests.integration.daemon import running
from tests.parts import Bind, Parts, Pebble, Resolver, locate
from tests.parts.front import Front, Request, Response, fronting, passed_on
from tests.parts.process import wait_until
from tests.parts.receiver import Receiver, receiving
from tests.parts.site import Site, orders

pytestmark = pytest.mark.integration
APEX, DAY = "example.test", timedelta(days=1)
SHORT, CALM = f"short.{APEX}", f"calm.{APEX}"
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


def told(receiver: Receiver, event: str) -> str:
    """The words of every alert of that kind."""
    alerts = [got.json["data"] for got in receiver.got]
    return "\n".join(each["what"] for each in alerts if each["event"] == event)


@dataclass
class Polled:
    """A Pebble that has to be asked again in a minute, the least of all: its own answer is 6 hours.

    Everything else it is asked passes through as it is.
    """

    ca: Pebble
    front: Front

    def polls(self, called: str) -> list[int]:
        """When it was asked about a certificate, as places in what the front got."""
        return [
            place
            for place, got in enumerate(self.front.got)
            if got.method == "GET" and got.path.endswith(f"/renewalInfo/{called}")
        ]

    def orders(self) -> list[tuple[int, dict[str, object]]]:
        """What was ordered, and its place in what the front got."""
        return [
            (place, json.loads(b64decode(json.loads(got.body)["payload"])))
            for place, got in enumerate(self.front.got)
            if got.method == "POST" and got.path == "/order-plz"
        ]


@pytest.fixture
def polled(parts: Parts, zones: tuple[Bind, Resolver]) -> Iterator[Polled]:
    """One whose shortlived certificates live for two minutes."""
    locate.require("pebble")
    lifetimes = {"default": 90 * 86_400, "shortlived": 120}
    ca = parts.start(Pebble, dns=zones[0].server, retry_after=0, profiles=lifetimes)
    answer = passed_on(ca.directory_url, ca_file=ca.ca_file)

    def hurried(request: Request) -> Response:
        response = answer(request)
        if "/renewalInfo/" not in request.path:
            return response
        return replace(response, headers={**response.headers, "Retry-After": "60"})

    with fronting(hurried, ca.pair) as front:
        yield Polled(ca, front)


def test_the_daemon_renews_by_the_cas_clock_and_by_that_of_a_short_life(
    site: Site, parts: Parts, zones: tuple[Bind, Resolver], polled: Polled
) -> None:
    """Nobody gives a command: its scheduler asks the CA once a minute, and knows two minutes.

    A window that was moved, but not forward, is shown and waited for.
    """
    bind, resolver = zones
    to = {"directory": f"{polled.front.url}/dir"}
    site.acme(polled.ca, profile="default", **to)  # else Pebble takes any
    site.acme(polled.ca, "brief", profile="shortlived", renewal_info=False, **to)
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port)
    site.certificate("web", APEX, issuer="ca")
    site.certificate("calm", CALM, issuer="ca")
    site.certificate("short", SHORT, issuer="brief")
    nginx = site.serve(parts, {APEX: "web", CALM: "calm", SHORT: "short"})
    old = {name: site.leaf(name) for name in ("web", "calm", "short")}
    called = renewal_id(facts_of(old["web"]))
    with receiving() as receiver:
        site.webhook(receiver.url, b"k" * 32)
        with running(site):
            moved, now = len(polled.front.got), datetime.now(UTC)
            polled.ca.set_renewal_info(old["web"], window(now - 2 * DAY, now - DAY))
            polled.ca.set_renewal_info(old["calm"], window(now + 60 * DAY, now + 61 * DAY))
            wait_until(lambda: site.generation("web") > 1, within=180)
            wait_until(lambda: site.generation("short") > 1, within=180)
            wait_until(lambda: nginx.served(APEX) == site.leaf("web") != old["web"])
            wait_until(lambda: nginx.served(SHORT) == site.leaf("short") != old["short"])
            wait_until(lambda: PAGE in site.status("calm")["reason"])
            wait_until(lambda: PAGE in told(receiver, "unplanned_rotation"))

    [(ordered, _), *_] = [each for each in polled.orders() if each[1].get("replaces") == called]
    assert len([place for place in polled.polls(called) if moved <= place < ordered]) == 1
    assert len(polled.polls(called)) == 2, "what has been replaced is not asked about"
    *_, renewed = site.history("web")
    assert renewed["why"].startswith("the CA wants it renewed early: a moment of the CA's window")
    assert PAGE in renewed["why"]
    assert PAGE in site.run("audit", "show", "web").stdout
    order = renewed["facts"]["order"].rpartition("/")[2]
    assert f"Order {order} has been marked as replaced" in polled.ca.log_file.read_text()

    [first, second, *_] = [line for line in site.history("short") if "order" in line["facts"]]
    assert second["why"] == "half of its lifetime has passed"
    assert second["began"] < first["facts"]["not_after"]
    assert "certificate short" not in told(receiver, "unplanned_rotation")
    assert (site.generation("web"), site.generation("calm")) == (2, 1)
