"""An API server that stands still in the middle of a rotation, and one whose store is slow."""

from __future__ import annotations

import time

import pytest

from tests.integration.daemon import reload, running
from tests.integration.in_cluster import HOST, Calls, asked, keep, made, of_rotation, restarts
from tests.parts import Parts
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.rolling import RollingController
from tests.parts.kubernetes.secrets import Shop
from tests.parts.process import wait_until
from tests.parts.site import Site

STILL = 30.0


@pytest.fixture(scope="module")
def plane(module_parts: Parts) -> ControlPlane:
    """One that may be harmed."""
    return module_parts.start(ControlPlane)


@pytest.fixture
def shop(plane: ControlPlane, acme_site: Site) -> Shop:
    """Where the site keeps everything."""
    found = made(plane)
    keep(acme_site, found)
    return found


def await_restart(calls: Calls) -> None:
    """Returns once the workload is being restarted."""
    seen = list[str]()

    def restarted() -> bool:
        seen.extend(asked(calls.new()))
        return "patch deployments/web" in seen

    wait_until(restarted, what="the workload is being restarted")


@pytest.mark.timeout(600)
def test_an_api_server_that_stands_still_costs_no_more_than_that(
    acme_site: Site, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a minute in mid-rotation: it is finished as soon as it answers, by the same daemon."""
    plane, entry = shop.plane, acme_site.config["certificates"][0]
    with running(acme_site) as daemon:
        controller = RollingController(plane.api, shop.workloads)
        with controller:
            daemon.wait_for("web: done")
        calls, before = Calls(shop), restarts(shop)
        entry["names"] = [HOST, "www.example.test"]
        calls.new()
        reload(acme_site, daemon)
        await_restart(calls)
        plane.pause()
        try:
            time.sleep(STILL)
        finally:
            plane.resume()
        begun = time.monotonic()
        with RollingController(plane.api, shop.workloads):
            daemon.wait_for("web: done")
        took = time.monotonic() - begun
        with capsys.disabled():
            print(f"\ndone {took:.1f} s after it answers again")  # noqa: T201
        assert restarts(shop) - before == 1
        assert took < 45  # it is not left until the next look, a minute later
    assert acme_site.history("web")[-1]["outcome"] == "finished"


def test_who_only_looks_is_told_soon_that_the_api_server_does_not_answer(
    acme_site: Site, shop: Shop
) -> None:
    """Ten seconds in all, for the state and for the store; a look before is the control."""
    assert "missing" in acme_site.run("status").stdout
    shop.plane.pause()
    try:
        for command in ("status", "plan", "history"):
            begun = time.monotonic()
            said = acme_site.run(command)
            took = time.monotonic() - begun
            assert said.code == 1
            assert "not answer" in said.stdout + said.stderr
            assert took < 40  # each read of each had a minute
    finally:
        shop.plane.resume()


@pytest.mark.timeout(600)
def test_a_store_that_is_slow_loses_nothing(
    acme_site: Site, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """etcd stands still most of the time, sometimes for seconds: each answer comes late."""
    plane, entry = shop.plane, acme_site.config["certificates"][0]
    with RollingController(plane.api, shop.workloads), running(acme_site) as daemon:
        daemon.wait_for("web: done")
        before, begun, calls = restarts(shop), time.monotonic(), Calls(shop)
        entry["names"] = [HOST, "slow.example.test"]
        calls.new()
        with plane.slow_etcd(stopped=1.5, running=0.3):
            reload(acme_site, daemon)
            daemon.wait_for("web: done")
        took = time.monotonic() - begun
        assert restarts(shop) - before == 1
    with capsys.disabled():
        found = len(of_rotation(calls.new()))
        print(f"\n{took:.1f} s and {found} requests with a slow etcd")  # noqa: T201
    assert acme_site.history("web")[-1]["outcome"] == "finished"
    assert len(acme_site.history("web")) == 2, "nothing was tried twice"


@pytest.mark.timeout(600)
def test_a_workload_that_is_applied_again_in_mid_rollout_is_finished_or_undone(
    acme_site: Site, shop: Shop
) -> None:
    """A GitOps tool puts its own template in the place of ours: in the end the Secret fits it."""
    plane, entry = shop.plane, acme_site.config["certificates"][0]
    path = f"/apis/apps/v1/namespaces/{shop.workloads}/deployments/web"
    with running(acme_site) as daemon:
        with RollingController(plane.api, shop.workloads):
            daemon.wait_for("web: done")
        first, calls = shop.data(), Calls(shop)
        applied = plane.api.get(path)
        entry["names"] = [HOST, "git.example.test"]
        calls.new()
        reload(acme_site, daemon)
        await_restart(calls)
        for key in ("resourceVersion", "uid", "managedFields"):
            applied["metadata"].pop(key)
        del applied["status"]
        plane.api.replace(path, applied)
        with RollingController(plane.api, shop.workloads):
            daemon.wait_for("web: ")
            wait_until(lambda: len(acme_site.history("web")) == 2, what="it has ended")
        last = acme_site.history("web")[-1]
        undone = last["outcome"] != "finished"
        assert (shop.data() == first) is undone, last
        assert "has changed the annotation" in str(last["failure"]) or not undone
