"""The leader of two replicas is killed or frozen in the middle of a change; the other goes on."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.cluster.acme import with_pods
from benchmarks.cluster.bench import SECRET, Bench
from benchmarks.cluster.installation import Installation, Logged
from benchmarks.cluster.table import Line
from benchmarks.cluster.workload import HOST, Workload
from certrotd.kube.objects import KIND
from certrotd.stores.own_secrets import STAGING
from tests.parts.kubernetes.images import DEBIAN
from tests.parts.process import wait_until

_LANES = 10
_WITHIN = 180.0
_THAWED = 3.0
"""So many seconds a thawed leader is watched for writes."""
FAULTS = ("killed", "frozen")
MOMENTS = ("the key is staged", "the Secret is changed", "the pods are being restarted")


@dataclass(frozen=True)
class Try:
    """What became of one change; ``gap`` is seconds from the fault until every pod served it.

    ``missed``: the change was over before the fault came.
    """

    fault: str
    moment: str
    gap: float = 0.0
    lost: str = ""
    double: str = ""
    unfenced: str = ""
    missed: bool = False


def measure(bench: Bench) -> list[Line]:
    """In several namespaces at once: most of each try is waiting for a Lease to run out."""
    kinds = [(fault, moment) for moment in MOMENTS for fault in FAULTS]
    planned = [kinds[number % len(kinds)] for number in range(bench.sizes.tries)]
    shares = [planned[lane::_LANES] for lane in range(_LANES)]
    bench.cluster.image(DEBIAN)  # before all want it at once

    def lane(number: int) -> list[Try]:
        return list(_tries(bench, f"leader-{number}", shares[number]))

    used = [number for number in range(_LANES) if shares[number]]
    with ThreadPoolExecutor(len(used)) as lanes:
        tries = [each for found in lanes.map(lane, used) for each in found]
    return [_line(tries)]


class _Pair:
    """A leader and the replica that waits to take over."""

    def __init__(self, site: Installation, stack: ExitStack) -> None:
        self._site = site
        self._stack = stack
        self._number = 0
        self.leader, self.leads = self._started()
        self.leader.wait_for("started with 1 certificate")
        self.waiting, self.waits = self._waiting()

    def _started(self) -> tuple[Logged, str]:
        self._number += 1
        name = f"replica-{self._number}"
        return self._stack.enter_context(self._site.daemon(name)), name

    def _waiting(self) -> tuple[Logged, str]:
        daemon, name = self._started()
        daemon.wait_for("waits to take over")
        return daemon, name

    def change(self) -> None:
        """Both read the present configuration: the leader now, the other when it takes over."""
        self._site.write_for(self.waits)
        self._site.write_for(self.leads)
        self.leader.signal(signal.SIGHUP)

    def next(self) -> None:
        """Who waited leads by now; another one waits."""
        self.leader, self.leads = self.waiting, self.waits
        self.waiting, self.waits = self._waiting()


def _tries(bench: Bench, name: str, faults: list[tuple[str, str]]) -> Iterator[Try]:
    with bench.installation(name) as site, ExitStack() as stack:
        site.internal()
        site.stored(SECRET, HOST)
        workload = with_pods(site, Workload(bench.cluster, site.workloads, SECRET))
        pair = _Pair(site, stack)
        for number, (fault, moment) in enumerate(faults):
            site.config["certificates"][0]["names"] = [HOST, f"{number}.{HOST}"]
            yield _tried(site, workload, pair, fault, moment)
            pair.next()


@dataclass(frozen=True)
class _Seen:
    """What there is: the leaf of the Secret, and how often the workload was changed."""

    leaf: str | None
    generation: int


def _seen(workload: Workload) -> _Seen:
    return _Seen(workload.in_secret(), workload.get()["metadata"]["generation"])


def _tried(site: Installation, workload: Workload, pair: _Pair, fault: str, moment: str) -> Try:
    before = _seen(workload)
    come = _moments(site, workload, before)[moment]
    pair.change()
    wait_until(come, within=_WITHIN, what=moment)
    pair.leader.signal(signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
    began = time.perf_counter()
    missed = _has_done(pair.leader)
    leaves: set[str | None] = set()

    def is_over() -> bool:
        leaf = workload.in_secret()
        leaves.add(leaf)
        return _has_done(pair.waiting) and leaf != before.leaf and workload.serves(leaf)

    lost, double, unfenced = "", "", ""
    try:
        wait_until(is_over, within=_WITHIN)
    except TimeoutError:
        lost = f"{pair.waiting.tail[-500:]}"
    gap = time.perf_counter() - began
    after = _seen(workload)
    if fault == "frozen":
        unfenced = _thawed(pair.leader, workload, after)
    if not lost and (after.generation != before.generation + 1 or len(leaves - {before.leaf}) > 1):
        double = f"{after.generation - before.generation} restarts, {len(leaves) - 1} certificates"
    if lost or double or unfenced:
        print(f"{fault} when {moment}: {lost or double or unfenced}", file=sys.stderr)
        for which, daemon in (("leader", pair.leader), ("other", pair.waiting)):
            print(f"--- the {which}'s log:\n{daemon.tail}", file=sys.stderr)
    return Try(fault, moment, gap, lost, double, unfenced, missed)


def _moments(
    site: Installation, workload: Workload, before: _Seen
) -> dict[str, Callable[[], bool]]:
    own = f"/api/v1/namespaces/{site.own}/secrets"

    def is_changed() -> bool:
        return workload.in_secret() != before.leaf

    def is_staged() -> bool:
        found = site.cluster.api.get(own, labelSelector=f"{KIND}={STAGING}")["items"]
        return bool(found) or is_changed()  # it is for a moment only

    def is_restarted() -> bool:
        return bool(workload.get()["metadata"]["generation"] != before.generation)

    return dict(zip(MOMENTS, (is_staged, is_changed, is_restarted), strict=True))


def _has_done(daemon: Logged) -> bool:
    """Whether it says that it finished the certificate, after it was last told to read anew."""
    return "web: done" in daemon.said.rpartition("reloaded: ")[2]


def _thawed(leader: Logged, workload: Workload, before: _Seen) -> str:
    """Lets a frozen leader go on: it has to end, and to have changed nothing; what it did else."""
    leader.signal(signal.SIGCONT)
    code = leader.end(within=_WITHIN)
    time.sleep(_THAWED)
    if (after := _seen(workload)) != before:
        return f"the thawed leader changed {before} to {after}"
    return "" if code == 1 else f"the thawed leader ended with {code}"


def _line(tries: list[Try]) -> Line:
    lost, double, unfenced = (
        [each for each in tries if getattr(each, what)] for what in ("lost", "double", "unfenced")
    )
    frozen = sum(each.fault == "frozen" for each in tries)
    gaps = sorted(each.gap for each in tries)
    missed = sum(each.missed for each in tries)
    odd = [
        f"{each.fault} when {each.moment}: {each.lost or each.double or each.unfenced}"
        for each in (*lost, *double, *unfenced)
    ]
    return Line(
        f"leader killed or frozen in mid-change, {len(tries)} tries",
        "3 of 3 lost",
        f"{len(lost)} lost, {len(double)} double",
        "0, 0, fenced",
        not lost and not double and not unfenced,
        {
            "tries": len(tries),
            "lost": len(lost),
            "double": len(double),
            "unfenced": len(unfenced),
            "missed": missed,
            "gaps": gaps,
        },
        f"{frozen - len(unfenced)} of {frozen} thawed leaders were fenced. From the fault until "
        f"every pod served the new leaf: {gaps[len(gaps) // 2]:.0f} s, at most {gaps[-1]:.0f} s "
        f"(a Lease runs out after 15 s). In {missed} the change was over before the fault. "
        + " | ".join(odd),
    )
