"""How many requests of a steady load fail while a rotation restarts the pods."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.cluster.acme import with_pods
from benchmarks.cluster.bench import SECRET, Bench, succeeded
from benchmarks.cluster.load import Load, Outcome
from benchmarks.cluster.table import Line
from benchmarks.cluster.workload import HOST, Workload

_BEFORE = 1.0
_AFTER = 1.0
_INCUMBENT_PLAIN = 51


@dataclass(frozen=True)
class _Case:
    """A kind of workload, and how many of 2,000 requests the incumbents lose, in words.

    target: options of the target.
    """

    name: str
    what: str
    kind: str
    pre_stop: bool
    incumbent: str
    limit: int
    target: Mapping[str, object] = field(default_factory=dict)


_RELOADING = {
    "mode": "exec",
    "command": ["nginx", "-c", "/conf/nginx.conf", "-s", "reload"],
    "files": ["/tls/tls.crt"],
}
_CASES = (
    _Case("plain", "plain Deployment", "deployment", False, "40–51 of 2,000", _INCUMBENT_PLAIN),
    _Case("deployment", "Deployment with preStop", "deployment", True, "0", 0),
    _Case("statefulset", "StatefulSet with preStop", "statefulset", True, "0", 0),
    _Case("in-place", "in place (nginx -s reload)", "deployment", False, "", 0, _RELOADING),
)
_WARNING = "no preStop"


def measure(bench: Bench) -> Iterator[Line]:
    """A restart of each kind; the internal issuer's certificates are there at once."""
    return (_measured(bench, case) for case in _CASES)


def _measured(bench: Bench, case: _Case) -> Line:
    with bench.installation(f"rolling-{case.name}", execs=bool(case.target)) as site:
        site.internal()
        site.stored(SECRET, HOST)
        workload = Workload(
            bench.cluster, site.workloads, SECRET, kind=case.kind, pre_stop=case.pre_stop
        )
        with_pods(site, workload, target=case.target)
        with Load(workload.address(), HOST, site.root_of(SECRET), rate=bench.sizes.rate) as load:
            time.sleep(_BEFORE)
            began = time.perf_counter()
            run = succeeded(site.run("rotate", SECRET, "--force", within=300))
            took = time.perf_counter() - began
            time.sleep(_AFTER)
            load.await_sent(bench.sizes.requests)
        if not workload.serves(workload.in_secret()):
            raise AssertionError(f"{workload.reference} does not serve what its Secret holds")
    return _line(case, load.outcome, took, warned=_WARNING in run.stderr)


def _line(case: _Case, outcome: Outcome, took: float, *, warned: bool) -> Line:
    plain = not case.pre_stop and not case.target
    met = outcome.failed <= case.limit and warned == plain
    why = ", ".join(f"{number} {reason}" for reason, number in outcome.failures.most_common())
    note = f"The rotation took {took:.0f} s, the slowest request {outcome.slowest:.2f} s."
    if plain:
        note += " Warned of before: " + ("yes." if warned else "NO.")
    elif warned:
        note += " A warning of a missing preStop was printed, and there is one."
    if why:
        note += f" Failures: {why}."
    return Line(
        f"failed requests: {case.what}",
        case.incumbent,
        f"{outcome.failed} of {outcome.sent:,}",
        f"≤ {case.limit}, warned before" if plain else "0",
        met,
        {
            "failed": outcome.failed,
            "sent": outcome.sent,
            "slowest": outcome.slowest,
            "failures": dict(outcome.failures),
            "seconds": took,
            "warned": warned,
        },
        note,
    )
