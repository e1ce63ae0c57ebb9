"""A thousand certificates renewed at once, each with a Deployment to be restarted."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.cluster import kwok, memory
from benchmarks.cluster.bench import Bench, succeeded
from benchmarks.cluster.installation import Installation
from benchmarks.cluster.table import Line, within
from benchmarks.measure import ProgramFailed
from tests.cluster.objects import Object
from tests.parts.kubernetes.audit import by_verbs, named

_INCUMBENT, _COUNT = 181.0, 1000
_CONCURRENCY = 32
"""Rotations at once, by the configuration: so many Deployments are restarted at once at most."""
_LOOK = 2.0
_WITHIN = 1200.0


@dataclass(frozen=True)
class _Renewal:
    """Seconds until it is over; how many Deployments were seen not whole at once, at most."""

    took: float
    at_once: int
    peak: float


def measure(bench: Bench) -> Iterator[Line]:
    """First the daemon with all of them, none due; then all are renewed."""
    wanted = [f"site-{number:04d}" for number in range(bench.sizes.certificates)]
    with bench.installation("thousand", *wanted) as site:
        site.internal()
        site.config["concurrency"] = _CONCURRENCY
        for name in wanted:
            site.stored(name, f"{name}.bench.test")
        began = time.perf_counter()
        succeeded(site.run("rotate", "--all", "--quiet", within=_WITHIN))
        issued = time.perf_counter() - began
        yield from memory.measured(site, len(wanted), bench.sizes.unrelated)
        yield Line(f"{len(wanted):,} issued for the first time", "", f"{issued:.0f} s")
        with kwok.simulated_node(bench.cluster, bench.directory / "kwok"):
            kwok.deploy(bench.cluster, site.workloads, wanted)
            for entry in site.config["certificates"]:
                site.pods(entry["name"], f"deployment/{entry['name']}")
                entry["targets"] = [entry["name"]]
            yield from _all_renewed(bench, site)


def _all_renewed(bench: Bench, site: Installation) -> Sequence[Line]:
    before = _generations(site)
    position, began = bench.audit.position(), datetime.now(UTC)
    renewal = _renewed(site)
    calls = list(bench.audit.calls(site.user, position))
    after = _generations(site)
    twice = sum(after[name] != before[name] + 1 for name in before)
    patched = [
        datetime.fromisoformat(str(each["stageTimestamp"]))
        for each in calls
        if named(each) == "patch deployments"
    ]
    last = (max(patched) - began).total_seconds()
    return _lines(len(before), renewal, last, twice, [named(each) for each in calls])


def _generations(site: Installation) -> dict[str, int]:
    found = (each["metadata"] for each in _all(site))
    return {each["name"]: each["generation"] for each in found}


def _all(site: Installation) -> list[Object]:
    return kwok.deployments(site.cluster, site.workloads)


def _renewed(site: Installation) -> _Renewal:
    began = time.perf_counter()
    at_once, peak = 0, 0.0
    with site.logged("rotate", "--all", "--force", "--quiet") as run:
        while not run.is_over:
            at_once = max(at_once, sum(not kwok.is_whole(each) for each in _all(site)))
            with suppress(OSError, KeyError):  # it ends
                peak = max(peak, memory.memory_of(run.pid)[1])
            time.sleep(_LOOK)
        took = time.perf_counter() - began
        if code := run.end():
            raise ProgramFailed(f"certrotd rotate ended with {code}:\n{run.tail}")
    if not all(map(kwok.is_whole, _all(site))):
        raise AssertionError("it is over, and some Deployments are not whole")
    return _Renewal(took, at_once, peak)


def _lines(
    count: int, renewal: _Renewal, patched: float, odd: int, calls: Sequence[str]
) -> list[Line]:
    limit, soon = within(patched, _INCUMBENT)
    bounded = renewal.at_once <= _CONCURRENCY and not odd
    counted = Counter(calls)
    each = len(calls) / count
    return [
        Line(
            f"{count:,} renewed at once (kwok)",
            "181 s patched, no bounds",
            f"{patched:.0f} s patched",
            f"{limit}, {_CONCURRENCY} at once",
            (soon and bounded) if count >= _COUNT else None,
            {
                "patched": patched,
                "ended": renewal.took,
                "at_once": renewal.at_once,
                "not_once": odd,
                "peak": renewal.peak,
            },
            f"By `certrotd rotate --all --force` with concurrency {_CONCURRENCY}, of the internal "
            f"issuer: over, and every Deployment whole, after {renewal.took:.0f} s. At most "
            f"{renewal.at_once} Deployments were not whole at once; {odd} were not restarted "
            f"exactly once. {renewal.peak:.0f} MiB at most.",
        ),
        Line(
            "API calls of each of these rotations",
            "",
            f"{each:.1f}",
            figures={"calls": len(calls), "by_verb": dict(counted)},
            note=f"All together {by_verbs(counted)}: "
            + ", ".join(f"{number / count:.1f} {what}" for what, number in counted.most_common()),
        ),
    ]
