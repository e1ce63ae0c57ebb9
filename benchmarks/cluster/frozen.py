"""The API server stands still in the middle of a rotation."""

import time

from benchmarks.cluster.acme import ZONE, prepared
from benchmarks.cluster.bench import SECRET, Bench
from benchmarks.cluster.table import Line, within
from tests.parts import Bind, Pebble, Zone
from tests.parts.process import wait_until

_LIMIT = 2.0


def measure(bench: Bench) -> list[Line]:
    """Frozen when the key is staged; an authorization is proven anew meanwhile."""
    with bench.parts() as parts, bench.installation("frozen") as site:
        bind = parts.start(Bind, zones=[Zone(ZONE)])
        pebble = parts.start(Pebble, dns=bind.server)
        workload = prepared(bench, site, pebble, bind)
        before = workload.in_secret()
        own = f"/api/v1/namespaces/{site.own}/secrets"
        run = site.start("rotate", SECRET, "--force")

        def is_staged() -> bool:
            found = bench.cluster.api.get(own)["items"]
            return any(".staging-" in each["metadata"]["name"] for each in found) or run.is_over

        wait_until(is_staged, what="a key is staged")
        plane = bench.cluster.control_plane
        plane.pause()
        time.sleep(bench.sizes.frozen)
        plane.resume()
        began = time.perf_counter()
        wait_until(lambda: workload.in_secret() != before, within=180, what="a new certificate")
        changed = time.perf_counter() - began
        leaf = workload.in_secret()
        wait_until(lambda: workload.serves(leaf), within=180, what="every pod serves it")
        served = time.perf_counter() - began
        ended = run.end(within=180)
        if ended.code:
            raise AssertionError(f"certrotd ended with {ended.code}: {ended.stderr[-1000:]}")
        over = time.perf_counter() - began
    limit, met = within(changed, _LIMIT)
    return [
        Line(
            f"API server frozen {bench.sizes.frozen:g} s in mid-rotation",
            "0.4 s after",
            f"{changed:.1f} s after",
            limit,
            met,
            {"changed": changed, "served": served, "ended": over, "frozen": bench.sizes.frozen},
            f"Until the Secret has the new certificate. Every pod served it after {served:.1f} s: "
            f"their restart begins then. certrotd had proven it after {over:.1f} s.",
        )
    ]
