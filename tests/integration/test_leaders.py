"""Two daemons of one state; the one at work is killed or frozen in the middle of a rotation."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.x509 import DNSName, SubjectAlternativeName

from tests.integration.daemon import stop
from tests.integration.in_cluster import HOST, Calls, keep, made, of_rotation, restarts
from tests.parts import Bind, Pebble, Resolver
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.audit import Call
from tests.parts.kubernetes.rolling import RollingController
from tests.parts.kubernetes.secrets import Shop
from tests.parts.process import wait_until
from tests.parts.site import Site, Started

TRIES = int(os.environ.get("CERTROTD_LEADER_TRIES", "2"))
LAST = 23
"""A rotation makes about so many requests."""


@dataclass
class Replica:
    """One of the two: its site, and the daemon that runs on it."""

    site: Site
    daemon: Started = field(init=False)

    def start(self) -> None:
        self.daemon = self.site.start("run")

    def end(self) -> None:
        if not self.daemon.is_over:
            self.daemon.signal(signal.SIGCONT)
            stop(self.daemon)


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """A namespace of workloads."""
    return made(control_plane)


def rolled_out(shop: Shop) -> RollingController:
    """What rolls its workloads out at once."""
    return RollingController(shop.plane.api, shop.workloads)


@pytest.fixture
def replicas(
    acme_site: Site,
    shop: Shop,
    tmp_path_factory: pytest.TempPathFactory,
    zones: tuple[Bind, Resolver],
    ca: Pebble,
) -> Iterator[tuple[Replica, Replica]]:
    """Two that share nothing but the state."""
    other = Site(tmp_path_factory.mktemp("other"))
    other.acme(ca)
    other.rfc2136(zones[0])
    other.dns(zones[1], port=zones[0].port)
    for site in (acme_site, other):
        keep(site, shop)
    with rolled_out(shop):
        acme_site.rotate()
    both = Replica(acme_site), Replica(other)
    both[0].start()
    both[0].daemon.wait_for("started with")
    both[1].start()
    both[1].daemon.wait_for("waits to take over")
    with ExitStack() as ends:
        for replica in both:
            ends.callback(replica.end)
        yield both


def issued(ca: Pebble) -> int:
    """How many certificates the CA has issued."""
    return ca.log_file.read_text(errors="replace").count("Issued certificate serial")


def names_in(shop: Shop) -> list[str]:
    """Those of the certificate in the Secret."""
    leaf = x509.load_pem_x509_certificates(shop.data()["tls.crt"])[0]
    found = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    return sorted(found.get_values_for_type(DNSName))


@pytest.mark.timeout(1800)
def test_a_change_is_made_once_whoever_dies(
    replicas: tuple[Replica, Replica], shop: Shop, ca: Pebble, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one ends it: nothing is lost, nothing is issued or restarted twice.

    One that was frozen finds that it is no longer at work, and touches nothing.
    """
    with rolled_out(shop):
        _whoever_dies(replicas, shop, ca, capsys)


def _whoever_dies(
    replicas: tuple[Replica, Replica], shop: Shop, ca: Pebble, capsys: pytest.CaptureFixture[str]
) -> None:
    leader, other = replicas
    for number in range(TRIES):
        wanted = sorted([HOST, f"w{number}.example.test"])
        point, freezes = (number + 1) * LAST // (TRIES + 1), number % 2 == 1
        before, had = (restarts(shop), issued(ca)), len(leader.site.history("web"))
        calls, seen = Calls(shop), list[Call]()
        calls.new()
        renew(leader, other, wanted)

        def reached(calls: Calls = calls, seen: list[Call] = seen, point: int = point) -> bool:
            seen += calls.new()
            return len(of_rotation(seen)) >= point

        wait_until(reached, what=f"the rotation has made {point} requests")
        begun = time.monotonic()
        leader.daemon.signal(signal.SIGSTOP if freezes else signal.SIGKILL)
        other.daemon.wait_for("started with")
        wait_until(
            lambda: names_in(shop) == wanted and not flying(shop),  # noqa: B023
            what="the other one has ended it",
        )
        took = time.monotonic() - begun
        if freezes:
            leader.daemon.signal(signal.SIGCONT)
            ended = leader.daemon.end()
            assert ended.code == 1, ended.stderr
            assert "another daemon may be at work" in ended.stderr
            assert "Traceback" not in ended.stderr
        else:
            leader.daemon.end()
        after = restarts(shop) - before[0], issued(ca) - before[1]
        [*_, last] = other.site.history("web")[had:]
        with capsys.disabled():
            what = "frozen" if freezes else "killed"
            print(  # noqa: T201
                f"\n{what} after request {point} ({(of_rotation(seen) or ['-'])[-1]}): "
                f"{after[0]} restart, {after[1]} issued, whole {took:.1f} s later"
            )
        assert last["outcome"] == "finished"
        assert after == (1, 1), "restarts and certificates"
        leader.start()
        leader.daemon.wait_for("waits to take over")
        leader, other = other, leader


def test_a_daemon_that_is_stopped_leaves_its_rollout_to_the_next(
    replicas: tuple[Replica, Replica], shop: Shop, ca: Pebble
) -> None:
    """Pods are not restarted back and forth while a node is drained or certrotd is upgraded."""
    leader, other = replicas
    wanted, before = sorted([HOST, "next.example.test"]), (restarts(shop), issued(ca))
    renew(leader, other, wanted)
    wait_until(lambda: restarts(shop) > before[0], what="the pods are being replaced")
    ended = stop(leader.daemon)
    assert ended.code == 0, ended.stderr
    assert "rolled back" not in ended.stderr
    other.daemon.wait_for("started with")
    with rolled_out(shop):
        wait_until(lambda: not flying(shop), what="the other one has ended it")
    assert names_in(shop) == wanted
    assert (restarts(shop) - before[0], issued(ca) - before[1]) == (1, 1)
    assert other.site.history("web")[-1]["failure"] is None


def renew(leader: Replica, other: Replica, names: list[str]) -> None:
    """Have the daemon at work obtain a certificate for these names."""
    for each in (leader, other):
        each.site.config["certificates"][0]["names"] = names
        each.site.write()
    leader.daemon.signal(signal.SIGHUP)


def flying(shop: Shop) -> bool:
    """Whether a rotation is in flight."""
    path = f"/api/v1/namespaces/{shop.own}/secrets"
    return bool(shop.plane.api.get(path, labelSelector="certrotd.io/in-flight=true")["items"])
