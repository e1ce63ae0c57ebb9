"""Many certificates on a bad day: half of the nonces refused, and a name server that fails."""

from __future__ import annotations

import time

import dns.message
import dns.query
import dns.rcode

from tests.parts import Bind, Parts, Pebble, Resolver
from tests.parts.bind import Zone
from tests.parts.site import Site, orders
from tests.unit.dns.scripted import ScriptedDns, answer

CERTIFICATES = 20
MINUTE = 60.0


class SecondServer:
    """Another server of the zone: SERVFAIL for a minute from the first challenge on, then BIND."""

    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self.well_from: float | None = None
        self.failed: set[str] = set()

    def __call__(self, query: dns.message.Message, _udp: bool) -> dns.message.Message:
        name = query.question[0].name.to_text()
        if self.well_from is None and name.startswith("_acme-challenge."):
            self.well_from = time.monotonic() + MINUTE
        if self.well_from is not None and time.monotonic() < self.well_from:
            self.failed.add(name)
            return answer(query, rcode=dns.rcode.SERVFAIL)
        return dns.query.tcp(query, self._bind.address, port=self._bind.own_port, timeout=20)


def test_twenty_certificates_outlast_refused_nonces_and_a_failing_name_server(
    site: Site, parts: Parts
) -> None:
    """All are issued, each by one order, once every server has the records, and none stays."""
    zone = Zone("example.test", nameservers={"ns1": "127.0.0.1", "ns2": "127.0.0.2"})
    bind = parts.start(Bind, zones=[zone])
    resolver = parts.start(Resolver, authoritative=[bind])
    ca = parts.start(Pebble, dns=bind.server, nonce_reject=50, retry_after=0)
    second = SecondServer(bind)
    hosts = [f"host{number}.example.test" for number in range(CERTIFICATES)]
    site.acme(ca, timeout="5m")
    site.rfc2136(bind)
    site.dns(resolver, port=bind.port, timeout="5m")
    site.config["concurrency"] = CERTIFICATES
    for host in hosts:
        site.certificate(host.partition(".")[0], host)

    with ScriptedDns(second, "127.0.0.2", bind.port):
        run = site.run("rotate", "--all", "--json", within=400)
    assert run.code == 0, f"{run.stdout}{run.stderr}"
    assert second.well_from is not None
    assert time.monotonic() >= second.well_from, "nobody waited for the second server"
    assert second.failed >= {f"_acme-challenge.{host}." for host in hosts}
    assert orders(ca) == CERTIFICATES
    for host in hosts:
        name = host.partition(".")[0]
        assert site.leaf(name)
        assert site.generations(name) == [1]
        assert bind.txt(f"_acme-challenge.{host}") == set()
    assert site.rotate().code == 0  # nothing is due any more
    assert orders(ca) == CERTIFICATES
