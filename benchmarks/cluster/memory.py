"""The daemon's memory with many certificates in Secrets, and beside large ones of others."""

import os
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster.bench import Bench, succeeded
from benchmarks.cluster.installation import Installation
from benchmarks.cluster.table import Line, within

_LIMIT = 100.0
_MORE = 2.0
_INCUMBENT, _INCUMBENT_MORE = 289, 58
_LARGE = 100 * 1024
_SETTLE = 20.0
_CLIENTS = 4


@dataclass(frozen=True)
class Started:
    """Seconds until the daemon is at work; MiB at most and, after it has looked around, now."""

    ready: float
    peak: float
    resident: float


def names(count: int) -> list[str]:
    """Of so many certificates, and of their Secrets."""
    return [f"site-{number:04d}" for number in range(count)]


def measure(bench: Bench) -> list[Line]:
    """The daemon is started twice: without and with the foreign Secrets in its own namespace."""
    count, unrelated = bench.sizes.certificates, bench.sizes.unrelated
    with bench.installation("memory", *names(count)) as site:
        site.internal()
        for name in names(count):
            site.stored(name, f"{name}.bench.test")
        began = time.perf_counter()
        succeeded(site.run("rotate", "--all", "--quiet", within=600))
        issued = time.perf_counter() - began
        alone = started(site, count)
        _add_foreign(site, unrelated)
        beside = started(site, count)
    limit, few = within(alone.peak, _LIMIT, " MiB")
    more = beside.peak - alone.peak
    most, none = within(more, _MORE, " MiB")
    return [
        Line(
            f"memory with {count:,} certificates",
            f"{_INCUMBENT} MiB, 4 processes",
            f"{alone.peak:.0f} MiB at most",
            limit,
            few,
            {"peak": alone.peak, "resident": alone.resident, "first_issued": issued},
            f"One process; {alone.resident:.0f} MiB {_SETTLE:g} s after its start. The internal "
            f"issuer had issued them in {issued:.0f} s, by one `certrotd rotate --all`.",
        ),
        Line(
            f"beside {unrelated} unrelated Secrets of {_LARGE // 1024} KiB",
            f"+{_INCUMBENT_MORE} MiB",
            f"{more:+.1f} MiB",
            most,
            none,
            {"peak": beside.peak, "resident": beside.resident},
            "In the namespace where certrotd keeps its own; the difference of the peaks.",
        ),
        Line(
            f"start of the daemon with {count:,}",
            "",
            f"{alone.ready:.1f} s",
            figures={"ready": alone.ready, "ready_beside": beside.ready},
        ),
    ]


def started(site: Installation, count: int) -> Started:
    """Starts the daemon, and looks at it once it has looked at its certificates."""
    began = time.perf_counter()
    with site.daemon() as daemon:
        daemon.wait_for(f"started with {count} certificates?", within=600)
        ready = time.perf_counter() - began
        time.sleep(_SETTLE)
        resident, peak = memory_of(daemon.pid)
        daemon.stop()
    return Started(ready, peak, resident)


def memory_of(pid: int) -> tuple[float, float]:
    """MiB resident now and at most; see proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024


def _add_foreign(site: Installation, count: int) -> None:
    """Makes large Secrets of somebody else in certrotd's namespace."""
    path = f"/api/v1/namespaces/{site.own}/secrets"

    def add(number: int) -> None:
        content = b64encode(os.urandom(_LARGE)).decode()
        made = {"metadata": {"name": f"foreign-{number}"}, "data": {"content": content}}
        site.cluster.api.create(path, made)

    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(add, range(count)))
