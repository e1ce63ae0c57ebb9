"""A certificate that pods reject is undone; one that is not trusted never reaches the Secret."""

import time
from dataclasses import dataclass

from benchmarks.cluster.acme import with_pods
from benchmarks.cluster.bench import SECRET, Bench, succeeded
from benchmarks.cluster.installation import Installation
from benchmarks.cluster.table import Line, within
from benchmarks.cluster.workload import HOST, REFUSED, Workload
from tests.cluster.objects import Object
from tests.parts.kubernetes.audit import Call
from tests.parts.process import wait_until

_LIMIT = 5.0
_TRIES = 3


@dataclass(frozen=True)
class _Undone:
    """Seconds from the first crash, and from when every old container was ended until all serve."""

    whole: float
    kept: int
    healed: float


def measure_rejected(bench: Bench) -> list[Line]:
    """Its pods exit at once with a certificate that has a certain name."""
    with bench.installation("rejected") as site:
        site.internal()
        site.stored(SECRET, HOST)
        workload = with_pods(site, Workload(bench.cluster, site.workloads, SECRET))
        site.config["certificates"][0]["names"] = [HOST, REFUSED]
        undone = [_undone(site, workload) for _ in range(_tries(bench))]
    whole = max(each.whole for each in undone)
    kept = min(each.kept for each in undone)
    healed = max(each.healed for each in undone)
    limit, soon = within(whole, _LIMIT)
    return [
        Line(
            "certificate that pods reject",
            "never undone",
            f"whole after {whole:.1f} s, {kept} of {workload.replicas} kept",
            f"{limit}, all kept",
            soon and kept == workload.replicas,
            {"whole": whole, "kept": kept, "healed": healed, "tries": len(undone)},
            f"Since the first crash was seen; the worst of {len(undone)}. Whole: Secret, template, "
            "and every pod's served leaf are the old ones. Then every old container was ended: all "
            f"served again after {healed:.1f} s. The incumbents had no endpoint left.",
        )
    ]


def _tries(bench: Bench) -> int:
    return min(_TRIES, bench.sizes.rotations)


def _undone(site: Installation, workload: Workload) -> _Undone:
    leaf, pods = workload.in_secret(), workload.ids()
    run = site.start("rotate", SECRET, "--force")
    wait_until(
        lambda: _has_crashed(workload, pods) or run.is_over, within=120, what="a new pod crashes"
    )
    began = time.perf_counter()
    wait_until(lambda: _is_whole(workload, pods, leaf), within=120, what="it is whole again")
    whole = time.perf_counter() - began
    ended = succeeded(run.end(within=120), expect=1)
    if "fails: container main" not in ended.stderr:
        raise AssertionError(f"it is not the crash that failed: {ended.stderr[-1000:]}")
    return _Undone(whole, len(pods & workload.ids()), _restarted(workload, leaf))


def _has_crashed(workload: Workload, old: set[str]) -> bool:
    new = [each for each in workload.pods() if each["metadata"]["uid"] not in old]
    return any(map(_has_ended, new))


def _has_ended(pod: Object) -> bool:
    """Whether a container of a pod ended, now or before it was restarted."""
    return any(
        each["restartCount"] or "terminated" in each["state"]
        for each in pod["status"].get("containerStatuses", [])
    )


def _is_whole(workload: Workload, pods: set[str], leaf: str | None) -> bool:
    found = workload.get()
    status = found["status"]
    settled = (
        status["observedGeneration"] == found["metadata"]["generation"]
        and status.get("updatedReplicas") == workload.replicas
        and status.get("availableReplicas") == workload.replicas
    )
    return (
        settled
        and workload.in_secret() == leaf
        and workload.ids() <= pods
        and workload.serves(leaf)
    )


def _restarted(workload: Workload, leaf: str | None) -> float:
    """Ends the container of each pod, as a crash would; seconds until all serve that again."""
    began = time.perf_counter()
    before = _restarts(workload)
    option = f"--namespace={workload.namespace}"
    for pod in before:
        workload.cluster.kubectl("exec", option, pod, "--", "sh", "-c", "kill 1")

    def again() -> bool:
        now = _restarts(workload)
        return all(now[pod] > before[pod] for pod in before) and workload.serves(leaf)

    wait_until(again, within=120, what="the old containers serve after a restart")
    return time.perf_counter() - began


def _restarts(workload: Workload) -> dict[str, int]:
    return {
        each["metadata"]["name"]: sum(
            status["restartCount"] for status in each["status"]["containerStatuses"]
        )
        for each in workload.pods()
    }


def measure_untrusted(bench: Bench) -> list[Line]:
    """The probe's roots are those of the issuer before."""
    with bench.installation("untrusted") as site:
        site.internal()
        site.internal("other", common_name="An authority that nobody trusts")
        entry = site.stored(SECRET, HOST, issuer="ca")
        workload = Workload(bench.cluster, site.workloads, SECRET)
        with_pods(site, workload, trusting_its_issuer=True)
        leaf, pods = workload.in_secret(), workload.ids()
        entry["issuer"] = "other"
        position, tries = bench.audit.position(), _tries(bench)
        reached, said = 0, ""
        for _ in range(tries):
            run = succeeded(site.run("rotate", SECRET, "--force"), expect=1)
            said = run.stdout
            reached += workload.in_secret() != leaf
        writes = sum(_writes(each) for each in bench.audit.calls(site.user, position))
        kept = workload.ids() == pods and workload.serves(leaf)
    return [
        Line(
            "certificate from an untrusted issuer",
            '3 of 3 "succeeded"',
            f"{reached} of {tries} in the Secret",
            "0",
            reached == 0 and writes == 0 and kept,
            {"reached": reached, "tries": tries, "writes": writes, "pods_kept": kept},
            f"{writes} requests to change the Secret in the audit log. certrotd says: "
            f"{' '.join(said.split()[-40:])}",
        )
    ]


def _writes(call: Call) -> bool:
    about = call.get("objectRef")
    return (
        isinstance(about, dict)
        and (about.get("resource"), about.get("name")) == ("secrets", SECRET)
        and call["verb"] not in ("get", "list", "watch")
        and "dryRun" not in str(call["requestURI"])
    )
