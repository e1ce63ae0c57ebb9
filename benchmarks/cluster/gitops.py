"""Somebody else puts the workload's manifest back while a rotation restarts its pods."""

import json
import time
from dataclasses import dataclass

from benchmarks.cluster.acme import with_pods
from benchmarks.cluster.bench import SECRET, Bench
from benchmarks.cluster.installation import Installation
from benchmarks.cluster.table import Line
from benchmarks.cluster.workload import HOST, Workload
from tests.parts.process import wait_until


@dataclass(frozen=True)
class _Way:
    """How the manifest is put back: by kubectl, with those arguments."""

    what: str
    arguments: tuple[str, ...]


_WAYS = (
    _Way("applied", ("apply", "--server-side", "--force-conflicts")),
    _Way("replaced", ("replace",)),
)


def measure(bench: Bench) -> list[Line]:
    """By server-side apply, which leaves annotations of others alone, and by replacing it."""
    with bench.installation("gitops") as site:
        site.internal()
        site.stored(SECRET, HOST)
        workload = with_pods(site, Workload(bench.cluster, site.workloads, SECRET))
        return [_line(site, workload, way) for way in _WAYS]


def _line(site: Installation, workload: Workload, way: _Way) -> Line:
    before, generation = workload.in_secret(), workload.get()["metadata"]["generation"]
    run = site.start("rotate", SECRET, "--force")
    wait_until(
        lambda: workload.get()["metadata"]["generation"] != generation or run.is_over,
        within=120,
        what="the pods are being restarted",
    )
    began = time.perf_counter()
    option = f"--namespace={workload.namespace}"
    manifest = json.dumps(workload.manifest())
    workload.cluster.kubectl(*way.arguments, option, "--filename=-", stdin=manifest)
    ended = run.end(within=300)
    took = time.perf_counter() - began
    leaf = workload.in_secret()
    wait_until(lambda: workload.serves(leaf), within=120, what="every pod serves the Secret's leaf")
    outcome = {0: "finished", 1: "undone"}.get(ended.code, f"exit code {ended.code}")
    as_said = (leaf != before) if ended.code == 0 else (leaf == before)
    return Line(
        f"manifest {way.what} again in mid-rollout",
        "",
        f"{outcome} in {took:.1f} s",
        "finished or undone",
        ended.code in (0, 1) and as_said,
        {"outcome": outcome, "seconds": took, "consistent": as_said},
        "" if ended.code == 0 else " ".join(ended.stdout.split()[-45:]),
    )
