"""What the preflight finds before an order is spent."""

from tests.parts import Pebble
from tests.parts.site import Site, orders, why_failed


def test_a_name_in_no_zone_of_the_server_is_found_before_an_order_is_spent(
    acme_site: Site, ca: Pebble
) -> None:
    """Any of the names, not only the first; with all of them right it orders."""
    site = acme_site
    entry = site.certificate("web", "example.test", "www.example.test", "elsewhere.nowhere.test")
    spent = orders(ca)
    said = why_failed(site.rotate(expect=1), "web")
    assert "_acme-challenge.elsewhere.nowhere.test" in said
    assert orders(ca) == spent
    dry = site.run("rotate", "web", "--dry-run")
    assert dry.code == 1
    assert "_acme-challenge.elsewhere.nowhere.test" in dry.stdout
    entry["names"].pop()
    site.rotate()
    assert orders(ca) == spent + 1


def test_a_name_no_solver_serves_is_found_before_an_order_is_spent(
    acme_site: Site, ca: Pebble
) -> None:
    """Where its CNAME leads is asked first: that zone may be served."""
    site, spent = acme_site, orders(ca)
    site.config["solvers"]["dns"]["zones"] = ["challenges.test"]
    entry = site.certificate("web", "alias.example.test", "example.test")
    said = why_failed(site.rotate(expect=1), "web")
    assert "no DNS solver serves _acme-challenge.example.test" in said
    assert orders(ca) == spent
    entry["names"].pop()
    # the control: _acme-challenge.alias leads to challenges.test (where Pebble does not follow)
    assert "the CA did not accept the proof" in why_failed(site.rotate(expect=1), "web")
    assert orders(ca) == spent + 1
