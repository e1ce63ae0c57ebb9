"""The daemon's memory with many certificates in Secrets, and beside large ones of others."""

import os
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.cluster.installation import Installation
from benchmarks.cluster.table import Line, within
from benchmarks.measure import ProgramFailed

_LIMIT = 100.0
_MORE = 2.0
_INCUMBENT, _INCUMBENT_MORE = 289, 58
_LARGE = 100 * 1024
_SETTLE = 20.0
_CLIENTS = 4


@dataclass(frozen=True)
class _Started:
    """Seconds until the daemon is at work; MiB at most and, after it has looked around, now."""

    ready: float
    peak: float
    resident: float


def measured(site: Installation, count: int, unrelated: int) -> Iterator[Line]:
    """The daemon is started twice: without and with the foreign Secrets in its own namespace."""
    alone = _started(site, count)
    limit, few = within(alone.peak, _LIMIT, " MiB")
    yield Line(
        f"memory with {count:,} certificates",
        f"{_INCUMBENT} MiB, 4 processes",
        f"{alone.peak:.0f} MiB at most",
        limit,
        few,
        {"peak": alone.peak, "resident": alone.resident},
        f"One process; {alone.resident:.0f} MiB {_SETTLE:g} s after its start.",
    )
    yield Line(
        f"start of the daemon with {count:,}", "", f"{alone.ready:.1f} s", figures=asdict(alone)
    )
    with _foreign(site, unrelated):
        beside = _started(site, count)
    more = beside.peak - alone.peak
    most, none = within(more, _MORE, " MiB")
    yield Line(
        f"beside {unrelated} unrelated Secrets of {_LARGE // 1024} KiB",
        f"+{_INCUMBENT_MORE} MiB",
        f"{more:+.1f} MiB",
        most,
        none,
        {"peak": beside.peak, "resident": beside.resident},
        "In the namespace where certrotd keeps its own; the difference of the peaks.",
    )


def _started(site: Installation, count: int) -> _Started:
    """Starts the daemon, and looks at it once it has looked at its certificates."""
    began = time.perf_counter()
    with site.daemon() as daemon:
        daemon.wait_for(f"started with {count:,} certificates?", within=600)
        ready = time.perf_counter() - began
        time.sleep(_SETTLE)
        resident, peak = memory_of(daemon.pid)
        if code := daemon.stop():
            raise ProgramFailed(f"certrotd run ended with {code}:\n{daemon.tail}")
    return _Started(ready, peak, resident)


def memory_of(pid: int) -> tuple[float, float]:
    """MiB resident now and at most; see proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(sizes["VmRSS"]) / 1024, int(sizes["VmHWM"]) / 1024


@contextmanager
def _foreign(site: Installation, count: int) -> Iterator[None]:
    """Within it there are large Secrets of somebody else in certrotd's namespace."""
    path = f"/api/v1/namespaces/{site.own}/secrets"
    content = b64encode(os.urandom(_LARGE)).decode()

    def add(number: int) -> None:
        metadata = {"name": f"foreign-{number}", "labels": {"app": "foreign"}}
        site.cluster.api.create(path, {"metadata": metadata, "data": {"content": content}})

    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(add, range(count)))
    yield
    site.cluster.api.delete(path, labelSelector="app=foreign")
