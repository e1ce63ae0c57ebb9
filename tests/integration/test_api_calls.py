"""How many requests certrotd takes of the API server, when everything is kept in the cluster."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from tests.integration.daemon import reload, running
from tests.integration.in_cluster import HOST, Calls, asked, keep, made, of_rotation
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.rolling import RollingController
from tests.parts.kubernetes.secrets import Shop
from tests.parts.process import wait_until
from tests.parts.site import Site

MOST = 24
"""For a rotation with a new authorization, however long it takes; two more with a pod_probe."""
SECONDS = 4.0
_IDLE = re.compile(r"\w+ leases/certrotd-lock.daemon|watch ")


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
    assert len(found) <= MOST


def test_an_idle_daemon_asks_nothing(acme_site: Site, shop: Shop) -> None:
    """It is told what happens, and renews its Lease; the control is that it hears of a wake."""
    calls = Calls(shop)

    def quiet() -> bool:
        calls.new()
        time.sleep(SECONDS)
        return not [each for each in asked(calls.new()) if not _IDLE.match(each)]

    with RollingController(shop.plane.api, shop.workloads), running(acme_site) as daemon:
        daemon.wait_for("web: done")
        wait_until(quiet, what=f"for {SECONDS} s it asks nothing but whether it is at work")
        assert acme_site.run("wake", "web").code == 0
        wait_until(lambda: "update configmaps/certrotd-wake.all" in asked(calls.new()))
