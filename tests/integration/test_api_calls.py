"""How many requests certrotd takes of the API server, when everything is kept in the cluster."""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from tests.integration.daemon import reload, running
from tests.integration.in_cluster import HOST, Calls, keep, made, of_rotation
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.rolling import RollingController
from tests.parts.kubernetes.secrets import Shop
from tests.parts.site import Site

MOST = 25
"""For a rotation, but for those whose number depends on how long it takes."""
SECONDS = float(os.environ.get("CERTROTD_IDLE_SECONDS", "10"))


@pytest.fixture
def shop(control_plane: ControlPlane, acme_site: Site) -> Shop:
    """Where the site keeps everything."""
    found = made(control_plane)
    keep(acme_site, found)
    return found


def test_a_rotation_by_the_daemon_takes_few(
    acme_site: Site, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """ACME, the Secret, the journal, the locks, the rights, and the restart of one workload."""
    calls = Calls(shop)
    with RollingController(shop.plane.api, shop.workloads), running(acme_site) as daemon:
        daemon.wait_for("web: done")
        calls.new()
        acme_site.config["certificates"][0]["names"] = [HOST, "www.example.test"]
        reload(acme_site, daemon)
        daemon.wait_for("web: done")
        found = of_rotation(calls.new())
    with capsys.disabled():
        print(f"\n{len(found)} requests for a rotation")  # noqa: T201
        for what, times in Counter(found).most_common():
            print(f"{times:4} {what}")  # noqa: T201
    # a Lease is renewed every five seconds, and a rollout is looked at every second
    slow = [each for each in found if "lease" in each or each == "get deployments/web"]
    assert len(found) - len(slow) <= MOST


def test_an_idle_daemon_asks_little(
    acme_site: Site, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told what happens, and renews its Lease; the control is that it hears of a wake."""
    calls = Calls(shop)
    with RollingController(shop.plane.api, shop.workloads), running(acme_site) as daemon:
        daemon.wait_for("web: done")
        time.sleep(3)  # it looks once more
        calls.new()
        begun = time.monotonic()
        time.sleep(SECONDS)
        found, seconds = calls.new(), time.monotonic() - begun
        assert acme_site.run("wake", "web").code == 0
    with capsys.disabled():
        rate = 60 * len(found) / seconds
        print(f"\n{rate:.1f} requests a minute: {Counter(found)}")  # noqa: T201
    leases = [each for each in found if "lease" in each]
    assert len(leases) <= 2 + 2 * seconds / 5
    assert len(found) - len(leases) <= 8 * max(1, seconds / 60)
