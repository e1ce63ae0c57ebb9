"""How long an ACME rotation takes until three pods serve it, and what it asks of the API server."""

import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cluster.bench import SECRET, Bench, succeeded
from benchmarks.cluster.installation import Installation, Logged
from benchmarks.cluster.table import Line, within
from benchmarks.cluster.workload import HOST, Workload
from tests.parts import Bind, Pebble, Zone
from tests.parts.kubernetes.audit import by_verbs, named, of_rotation
from tests.parts.process import wait_until

ZONE = "bench.test"


@dataclass(frozen=True)
class _Case:
    """A Pebble that reuses so many percent of authorizations, and what the incumbents took."""

    name: str
    what: str
    reuse: int
    incumbent: float
    limit: float
    calls: int


_CASES = (
    _Case("new", "DNS-01, a new authorization", 0, 70.0, 17.5, 62),
    _Case("reused", "DNS-01, the authorization reused", 100, 12.5, 15.0, 43),
)
_CALLS = 0.6
_KEYS = ("ecdsa-p256", "ecdsa-p384")
_NOTE = (
    "Seconds from the reload of the daemon until every pod, by its own address, serves the new "
    "leaf, and until certrotd has proven it; medians."
)


@dataclass(frozen=True)
class _Rotation:
    served: float
    ended: float
    calls: Counter[str]


def measure(bench: Bench) -> Iterator[Line]:
    """Both cases, against one BIND: a daemon is told again and again to use another type of key."""
    with bench.parts() as parts:
        bind = parts.start(Bind, zones=[Zone(ZONE)])
        for case in _CASES:
            pebble = parts.start(Pebble, dns=bind.server, authz_reuse=case.reuse)
            with bench.installation(f"acme-{case.name}") as site:
                workload = prepared(bench, site, pebble, bind)
                with site.daemon() as daemon:
                    daemon.wait_for("started with 1 certificate")
                    _rotated(bench, site, workload, daemon)  # what is asked once is behind it
                    rotations = [
                        _rotated(bench, site, workload, daemon)
                        for _ in range(bench.sizes.rotations)
                    ]
                    daemon.stop()
            yield from _lines(case, rotations)


def prepared(bench: Bench, site: Installation, pebble: Pebble, bind: Bind) -> Workload:
    """Three pods that serve a first certificate of the Pebble's; the next one restarts them."""
    site.ordered_from(pebble, bind)
    site.stored(SECRET, HOST)
    return with_pods(site, Workload(bench.cluster, site.workloads, SECRET))


def with_pods(
    site: Installation,
    workload: Workload,
    *,
    trusting_its_issuer: bool = False,
    target: Mapping[str, object] | None = None,
) -> Workload:
    """Issues the certificates, then makes the pods, and has them be the first one's target.

    Each pod is proven, then the Service. trusting_its_issuer: whether by the roots that the first
    certificate has. target: further options of it.
    """
    succeeded(site.run("rotate", "--all"))
    workload.deploy()
    roots = str(site.root_of(workload.secret)) if trusting_its_issuer else None
    address, port = workload.address()
    site.pods(
        "pods",
        workload.reference,
        pod_probe=[{"port": port, "roots": roots}],
        probe=[{"address": f"{address}:{port}", "roots": roots}],
        **(target or {}),
    )
    site.config["certificates"][0]["targets"] = ["pods"]
    succeeded(site.run("rotate", "--all"))
    return workload


def _rotated(bench: Bench, site: Installation, workload: Workload, daemon: Logged) -> _Rotation:
    certificate, done = site.config["certificates"][0], f"{SECRET}: done"
    certificate["key"] = _KEYS[certificate.get("key", _KEYS[0]) == _KEYS[0]]
    site.write()
    before, position, ended = workload.in_secret(), bench.audit.position(), daemon.said.count(done)
    began = time.perf_counter()
    daemon.signal(signal.SIGHUP)

    def is_served() -> bool:
        leaf = workload.in_secret()
        return leaf != before and workload.serves(leaf)

    wait_until(is_served, within=180, what="every pod serves the new leaf")
    served = time.perf_counter() - began
    wait_until(lambda: daemon.said.count(done) > ended, within=180, what="it is proven")
    whole = time.perf_counter() - began
    asked = of_rotation(bench.audit.calls(site.user, position), SECRET)
    return _Rotation(served, whole, Counter(map(named, asked)))


def _lines(case: _Case, rotations: Sequence[_Rotation]) -> list[Line]:
    served = statistics.median(each.served for each in rotations)
    ended = statistics.median(each.ended for each in rotations)
    calls = rotations[-1].calls
    words, met = within(max(served, ended), case.limit)
    limit, few = within(calls.total(), case.calls * _CALLS, " calls")
    figures = {"served": served, "ended": ended, "rotations": len(rotations)}
    return [
        Line(
            case.what,
            f"{case.incumbent:g} s",
            f"{served:.1f} s, proven {ended:.1f} s",
            words,
            met,
            figures,
            _NOTE,
        ),
        Line(
            f"API calls of it ({case.name})",
            f"{case.calls} calls",
            f"{calls.total()} calls",
            limit,
            few,
            {"calls": calls.total(), "by_verb": dict(calls)},
            f"From the certificate's Lease on, less what an idle daemon asks. {by_verbs(calls)}: "
            + ", ".join(f"{n} {what}" for what, n in calls.most_common()),
        ),
    ]
