"""From an empty directory to nginx serving it, against two CAs, and the next time around."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.parts import Bind, Nginx, Parts, Pebble, Resolver, StepCA, locate
from tests.parts.client import served_leaf, trusted_leaf
from tests.parts.process import wait_until
from tests.parts.site import Site, exposed_keys, orders, serves

APEX, WILDCARD, OTHER = "example.test", "*.example.test", "www.example.test"


@pytest.mark.parametrize("rejected", [5, 50])
def test_several_certificates_are_issued_deployed_and_served(
    parts: Parts, site: Site, zones: tuple[Bind, Resolver], rejected: int
) -> None:
    """The whole way, with a CA that refuses nonces as real ones do (5 %) and beyond (50 %)."""
    bind, resolver = zones
    pebble = parts.start(Pebble, dns=bind.server, nonce_reject=rejected, retry_after=0)
    site.acme(pebble)
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port)
    both = site.certificate("both", APEX, WILDCARD)
    site.certificate("www", OTHER)
    nginx = site.serve(parts, {APEX: "both", "any.example.test": "both", OTHER: "www"})
    first = {name: site.leaf(name) for name in ("both", "www")}
    assert names_of(first["both"]) == {APEX, WILDCARD}

    site.rotate("--force")

    for name, served_at in (("both", APEX), ("both", "any.example.test"), ("www", OTHER)):
        assert serves(nginx, served_at, site.leaf(name))
        served = trusted_leaf("127.0.0.1", nginx.port, served_at, pebble.roots()[0])
        assert served == site.leaf(name) != first[name]
    assert orders(pebble) == 4
    assert bind.txt(f"_acme-challenge.{APEX}") == set()
    assert (site.leftovers(), exposed_keys(site.directory)) == ([], [])

    both["keep"] = 1  # nothing that would be a reason to do something
    run = site.rotate()
    assert {row["result"] for row in run.json} == {"wait"}
    assert (orders(pebble), site.generations("both")) == (4, [1, 2])


def test_a_first_certificate_comes_before_the_nginx_that_needs_its_files(
    parts: Parts, acme_site: Site, ca: Pebble
) -> None:
    """nginx cannot start, nor pass nginx -t, before the files its configuration names are there."""
    site, before = acme_site, orders(ca)
    site.certificate("web", APEX, targets=["nginx"])
    nginx = Nginx(site.directory / "nginx", {APEX: site.files("web")})
    site.nginx(nginx, APEX)
    assert nginx.check().returncode != 0

    run = site.rotate(expect=1)

    why = run.row("web")["why"]
    assert "start nginx" in why
    place = f"in place at {site.store}/web/live; once that is fixed, `certrotd rotate web` proves"
    assert place in why
    assert site.history("web")[0]["outcome"] == "left in place"
    shown = [why, site.run("history", "web").stdout, site.run("status", "web").stdout]
    assert place in shown[1]
    assert "in place, not yet proven on nginx; after 1 failure" in shown[2].replace("\n", " ")
    assert not [said for said in shown if "rolled back" in said]
    assert site.generation("web") == 1  # there is nothing to go back to, so it stays
    with nginx:
        again = site.rotate()
        assert again.row("web")["result"] == "done"
        assert serves(nginx, APEX, site.leaf("web"))
    assert (orders(ca), site.generations("web")) == (before + 1, [1])


def test_status_shows_what_is_live_and_what_is_served(parts: Parts, acme_site: Site) -> None:
    """An operator and a monitoring system decide by this listing alone."""
    site = acme_site
    site.certificate("web", APEX, WILDCARD)
    nginx = site.serve(parts, {APEX: "web"})
    assert site.status("web")["state"] == "due"  # it is not proven on nginx yet

    site.rotate()
    seen = site.status("web")

    leaf = site.leaf("web")
    fingerprint = leaf.fingerprint(SHA256()).hex()
    [target] = seen.pop("targets")
    assert (target["name"], target["generation"], target["current"]) == ("nginx", 1, True)
    assert target["serves"] == seen["fingerprint"] == fingerprint
    assert (seen["name"], set(seen["names"])) == ("web", {APEX, WILDCARD})
    assert (seen["state"], seen["decision"], seen["in_flight"]) == ("ok", "wait", None)
    assert (seen["generation"], seen["newest_generation"]) == (1, 1)
    assert seen["not_after"] == leaf.not_valid_after_utc.isoformat()
    assert seen["not_before"] < seen["next_check"] < seen["not_after"]
    assert seen["reason"].startswith("renewal at ")  # two thirds of its lifetime, or as the CA says
    assert (seen["failures"], seen["last_failure"]) == (0, None)

    [probed] = site.status("web", "--probe")["targets"]
    assert probed["current"]
    assert [each["serves"] for each in probed["endpoints"]] == [fingerprint]
    table = site.run("status", "--probe").stdout
    assert "nginx: ok" in table
    assert "web" in table

    nginx.stop()
    [probed] = site.status("web", "--probe")["targets"]
    assert not probed["current"]
    assert probed["endpoints"][0]["problem"]


def test_a_change_of_the_directory_url_changes_the_ca(
    parts: Parts, acme_site: Site, zones: tuple[Bind, Resolver]
) -> None:
    """Leaving a CA in a hurry is two lines of configuration, and they are acted upon at once."""
    locate.require("step-ca")
    site, resolver = acme_site, zones[0]
    site.certificate("web", APEX, WILDCARD)
    nginx = site.serve(parts, {APEX: "web"})
    site.rotate()
    stepca = parts.start(StepCA, resolver=resolver.server, duration="5m")
    site.config["issuers"]["ca"]["directory"] = stepca.directory_url
    site.config["issuers"]["ca"]["ca_bundle"] = str(stepca.ca_file)

    run = site.rotate()

    assert run.row("web")["result"] == "done"
    assert "is another CA now" in run.row("web")["reason"]
    assert serves(nginx, APEX, site.leaf("web"))
    leaf = trusted_leaf("127.0.0.1", nginx.port, APEX, stepca.root_file.read_bytes())
    assert leaf == site.leaf("web")
    assert names_of(leaf) == {APEX, WILDCARD}
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert lifetime.total_seconds() < 10 * 60
    assert site.rotate().row("web")["result"] == "wait"  # minutes to live, and half of them to go


def test_short_lives_are_renewed_in_time(
    parts: Parts, site: Site, zones: tuple[Bind, Resolver]
) -> None:
    """What is due is told by the share of the lifetime, not by days."""
    locate.require("step-ca")
    bind, resolver = zones
    site.acme(parts.start(StepCA, resolver=bind.server, duration="9m"))
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port)
    # step-ca dates back by a minute: 600 s of lifetime, of which 65 have passed after 5
    site.certificate("web", APEX, renew={"at": 0.1085, "jitter": 0.0})
    site.rotate()
    due = datetime.fromisoformat(site.status("web")["next_check"])
    assert timedelta(0) < due - site.leaf("web").not_valid_before_utc < timedelta(seconds=70)
    wait_until(lambda: datetime.now(UTC) > due, what="its time has come")
    run = site.rotate()
    assert run.row("web")["decision"] == "renew"
    assert "11% of its lifetime has passed" in run.row("web")["reason"]
    assert site.generation("web") == 2


def test_clients_never_see_anything_but_the_old_or_the_new(parts: Parts, site: Site) -> None:
    """A renewal is a production change that nobody may notice."""
    site.internal()
    site.certificate("web", APEX)
    nginx = site.serve(parts, {APEX: "web"})
    site.rotate()
    old = site.leaf("web")

    with clients(nginx) as seen:
        site.rotate("--force")

    new = site.leaf("web")
    assert new != old
    assert not [each for each in seen if isinstance(each, str)]
    assert set(seen) == {old, new}


# Where the peer is gone already, SSLSocket's constructor raises without closing what it made.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_a_client_loop_notices_when_nothing_is_served(parts: Parts, site: Site) -> None:
    """The negative control of the test above."""
    site.internal()
    site.certificate("web", APEX)
    nginx = site.serve(parts, {APEX: "web"})
    with clients(nginx) as seen:
        nginx.stop()
    assert [each for each in seen if isinstance(each, str)]


@contextmanager
def clients(nginx: Nginx) -> Iterator[list[x509.Certificate | str]]:
    """Handshakes, one after the other, from before the block runs until some began after it."""
    seen: list[x509.Certificate | str] = []
    stop = threading.Event()

    def handshake() -> None:
        while not stop.is_set():
            try:
                seen.append(served_leaf("127.0.0.1", nginx.port, APEX))
            except (OSError, ssl.SSLError) as error:
                seen.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=handshake) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        wait_until(lambda: bool(seen))
        yield seen
        enough = len(seen) + 2 * len(workers)  # one of each may have begun before
        wait_until(lambda: len(seen) >= enough)
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def names_of(certificate: x509.Certificate) -> set[str]:
    """The DNS names a certificate is for."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))
